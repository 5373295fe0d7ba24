"""`evald serve`: the same service over HTTP."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from daemon.cli import screen
from daemon.cli.judging import mend_umask, warn_of_weakness
from daemon.cli.options import json_option, settings_options
from daemon.cli.pip_commands import pip
from daemon.errors import HarnessError, OperatorError

if TYPE_CHECKING:
    from daemon.layers import LoadedSettings


@click.command("serve")
@settings_options(
    "http.host", "http.port", "isolation", "device", "gpus", "slots", "log_level", "backend_paths", restarted=True
)
@click.option(
    "--judge",
    type=click.Choice(["auto", "always", "never"]),
    default="auto",
    show_default=True,
    help="Judge in this process as well; auto: when no daemon is at work as it starts.",
)
@json_option
def command(*, loaded: LoadedSettings, judge: str, as_json: bool) -> int:
    """Take bundles over HTTP: POST /evaluate, /compare and /jobs, and answer with their results.

    A request becomes a bundle in the inbox, and whatever daemon of that inbox is at work judges it. GET /docs describes
    every route. Beyond loopback every caller needs a token: evald token NAME. With --json the URL is printed once it
    listens. Exit code 0 when stopped; 2 when it cannot start and trying again would not help, or its database is
    damaged; 75 when it may.
    """
    try:
        from daemon.http import serving
    except ModuleNotFoundError as error:
        missing = f"evald serve needs the package {error.name}"
        raise OperatorError(missing, hint="type: " + pip("install 'evald[http]'")) from error
    from daemon import log
    from daemon.stopping import Stop, stopping_on_signals

    settings = loaded.settings
    log.setup(settings.log_level)
    mend_umask()
    warn_of_weakness(settings)
    stop = Stop()
    try:
        with stopping_on_signals(stop):
            serving.serve(settings, serving.Judging(judge), stop, lambda url: _tell(url, as_json=as_json))
    except (HarnessError, OSError) as error:
        from daemon.cli import failing

        return failing.report_passing(error, as_json=as_json)
    log.story("stopped")
    return 0


def _tell(url: str, *, as_json: bool) -> None:
    if as_json:
        screen.document({"url": url})
        sys.stdout.flush()  # who started us waits for it
