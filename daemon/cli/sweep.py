"""`evald sweep`: judge what is waiting, then exit."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from daemon.cli import outcome, screen
from daemon.cli.failing import COULD_NOT, INTERRUPTED
from daemon.cli.judging import Stopper, warn_of_weakness
from daemon.cli.options import json_option, settings_options
from daemon.cli.outcome import COLUMNS, Line
from daemon.verdict import Verdict

if TYPE_CHECKING:
    from daemon.cli.outcome import Line
    from daemon.config import LoadedSettings
    from daemon.paths import Paths


@click.command("sweep")
@settings_options("isolation", "slots", "log_level", "backend_paths")
@json_option
def command(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Judge what is waiting in the inbox, then exit: for cron, and for a folder of bundles.

    Exit code 0: all passed, or nothing was waiting. 1: some did not pass. 2: some could not be judged (rejected,
    unsupported, or evald itself failed). 130: interrupted; what was not finished is back in the inbox.
    """

    settings = loaded.settings
    warn_of_weakness(settings)
    settings.paths.create()
    if not _anything_to_do(settings.paths):
        _print([], as_json=as_json, place=settings.paths.inbox)
        return 0
    lines, interrupted, failed = _sweep(loaded)
    if lines or as_json or not interrupted:
        _print(lines, as_json=as_json, place=settings.paths.inbox)
    if interrupted:
        screen.say("evald: interrupted; what was not finished is back in the inbox")
        return INTERRUPTED
    if failed:
        screen.say(f"evald: {failed} jobs could not be brought to their end; their bundles are kept for the next sweep")
        return COULD_NOT
    return outcome.exit_code(line.verdict for line in lines)


def _anything_to_do(paths: Paths) -> bool:
    """Whether starting a judge can be of use: something in the inbox, claimed, or in the outbox."""
    from daemon.intake import names

    visible = (entry for entry in paths.inbox.iterdir() if not names.is_ignored(entry.name))
    return any(True for _ in visible) or any(paths.work.iterdir()) or any(paths.outbox.iterdir())


def _sweep(loaded: LoadedSettings) -> tuple[list[Line], bool, int]:
    from daemon import log, service
    from daemon.cli.live import Board, board

    settings = loaded.settings
    stopper = Stopper()
    with board() as listener:
        chosen = loaded.sources["log_level"] != "default"
        log.setup(settings.log_level if chosen or not screen.on_terminal(sys.stderr) else "warning")
        with service.stopping_on_signals(stopper), service.opened(settings, listener) as daemon:
            if isinstance(listener, Board):
                listener.ready()
            stopper.attach(daemon.stop)
            failed = daemon.sweep().failed
    lines = [Line.of_evaluation(ended.job_id, ended.name, ended.evaluation) for ended in listener.finished_jobs]
    return lines, stopper.asked, failed


def _print(lines: list[Line], *, as_json: bool, place: object) -> None:

    passed = sum(line.verdict is Verdict.PASSED for line in lines)
    if as_json:
        screen.document({"judged": len(lines), "passed": passed, "jobs": [line.as_document() for line in lines]})
        return
    if not lines:
        screen.say(f"nothing was judged: nothing is ready in {place}")
        return
    screen.table(COLUMNS, [line.cells() for line in lines])
    screen.say(f"{passed} of {len(lines)} passed")
