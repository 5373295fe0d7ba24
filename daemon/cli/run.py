"""`evald run`: the daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from daemon.cli import screen
from daemon.cli.judging import mend_umask, warn_of_weakness
from daemon.cli.options import json_option, settings_options
from daemon.errors import HarnessError

if TYPE_CHECKING:
    from daemon.layers import LoadedSettings


@click.command("run")
@settings_options("isolation", "device", "gpus", "slots", "log_level", "backend_paths", restarted=True)
@json_option
def command(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Judge bundles as they arrive in the inbox, until stopped.

    Drop a bundle by mv, cp, rsync, scp or `evald submit`; its result appears in results/by-name/NAME. SIGINT, SIGTERM
    and SIGHUP (a closed terminal, unless it is ignored: nohup) stop cleanly: what is not finished goes back to the
    inbox. One line per event goes to stderr; with --json, what was done is printed at the end. Exit code 0 when
    stopped; 2 when it cannot start and trying again would not help (settings, sandbox), or its database is damaged; 75
    when it may (database, file server).
    """
    from daemon import log, opening
    from daemon.stopping import Stop, stopping_on_signals

    settings = loaded.settings
    log.setup(settings.log_level)
    mend_umask()
    warn_of_weakness(settings)
    log.story("starting", home=settings.paths.home, isolation=settings.isolation)
    stop = Stop()
    try:
        with stopping_on_signals(stop), opening.opened(settings, stopped=lambda: stop.asked) as daemon:
            stop.add(daemon.stop)
            summary = daemon.run()
    except (HarnessError, OSError) as error:
        from daemon.cli import failing

        return failing.report_passing(error, as_json=as_json)
    log.story("stopped", judged=summary.judged, passed=summary.passed)
    if as_json:
        screen.document({"judged": summary.judged, "passed": summary.passed})
    return 0
