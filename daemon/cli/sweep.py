"""`evald sweep`: judge what is waiting, then exit."""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from daemon.cli import outcome, refused, screen
from daemon.cli.commands_to_type import here
from daemon.cli.failing import COULD_NOT, INTERRUPTED, report_passing
from daemon.cli.judging import mend_umask, warn_of_weakness
from daemon.cli.options import json_option, settings_options
from daemon.cli.outcome import COLUMNS
from daemon.errors import HarnessError
from daemon.verdict import Verdict

if TYPE_CHECKING:
    from daemon.cli.outcome import Line
    from daemon.config import Settings
    from daemon.judging import Deferred
    from daemon.layers import LoadedSettings
    from daemon.paths import Paths


@click.command("sweep")
@settings_options("isolation", "device", "gpus", "slots", "log_level", "backend_paths", restarted=True)
@json_option
def command(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Judge what is waiting in the inbox, then exit: for cron, and for a folder of bundles.

    Exit code 0: all passed, or nothing was waiting. 1: some did not pass. 2: some could not be judged (rejected,
    unsupported, or evald itself failed), or nothing could be claimed, for want of room, say. 75: it cannot begin, and
    may later (database, file server). 130: interrupted; what was not finished is back in the inbox. Bundles that
    require a device this host does not have stay in the inbox and change nothing about the exit code; so do all while
    the host is drained or the inbox paused.
    """

    paths = loaded.settings.paths
    mend_umask()
    warn_of_weakness(loaded.settings)
    try:
        paths.create()
        swept, failed = _sweep(loaded) if _anything_to_do(paths) else (Swept(), 0)
    except (HarnessError, OSError) as error:
        from daemon import outage

        if isinstance(error, OSError) and not outage.may_pass(error):
            raise
        return report_passing(error, as_json=as_json)
    return _told(swept, failed, as_json=as_json, place=paths.inbox)


def _told(swept: Swept, failed: int, *, as_json: bool, place: object) -> int:
    """Print what was done, and answer the exit code."""
    if swept.lines or as_json or not swept.interrupted:
        _print(swept, as_json=as_json, place=place)
    if swept.interrupted:
        screen.say("evald: interrupted; what was not finished is back in the inbox")
        return INTERRUPTED
    if failed:
        count = "1 job" if failed == 1 else f"{failed} jobs"
        screen.say(f"evald: {count} could not be brought to an end; what was not judged is kept for the next sweep")
        return COULD_NOT
    if swept.hindrance is not None:
        return COULD_NOT
    return outcome.exit_code(line.verdict for line in swept.lines)


@dataclass(frozen=True)
class Swept:
    """What a sweep did: the jobs that ended, and those this host has no device for.

    `drained`: this host's name if it takes nothing new. `paused`: the reason that the file `pause` gives, if it is
    there. `hindrance`: why nothing could be claimed.
    """

    lines: tuple[Line, ...] = ()
    waiting: tuple[Deferred, ...] = ()
    interrupted: bool = False
    drained: str | None = None
    paused: str | None = None
    hindrance: str | None = None


def _anything_to_do(paths: Paths) -> bool:
    """Whether it is of use to start a judge: something lies in the inbox, in `work/` or in the outbox."""
    return _anything_left(paths) or any(paths.work.iterdir()) or any(paths.outbox.iterdir())


def _anything_left(paths: Paths) -> bool:
    from daemon.intake import names

    return any(not names.is_ignored(entry.name) for entry in paths.inbox.iterdir())


def _sweep(loaded: LoadedSettings) -> tuple[Swept, int]:
    """What was done, and how many jobs evald failed to bring to their end. Raises as `opening.opened`, and `OSError`
    where the folders cannot be looked at."""
    from daemon import log, opening
    from daemon.cli.live import Board, board
    from daemon.intake.pause import pause_reason
    from daemon.stopping import Stop, stopping_on_signals

    settings = loaded.settings
    if (swept := _turned_away(settings)) is not None:
        return swept, 0
    stop = Stop()
    with board() as listener:
        chosen = loaded.sources["log_level"] != "default"
        log.setup(settings.log_level if chosen or not screen.on_terminal(sys.stderr) else "warning")
        with stopping_on_signals(stop), opening.opened(settings, listener) as daemon:
            if isinstance(listener, Board):
                listener.ready()
            stop.add(daemon.stop)
            failed = daemon.sweep().failed
    waiting, paused = tuple(listener.deferred_jobs.values()), pause_reason(settings.paths)
    return Swept(tuple(listener.ended), waiting, stop.asked, _drained(settings), paused, _hindrance(settings)), failed


def _turned_away(settings: Settings) -> Swept | None:
    """The answer where nothing may be claimed, and nothing has been. It is known before a judge is started, which takes
    a slow machine half a minute."""
    from daemon import obstacles
    from daemon.intake.pause import pause_reason

    paths = settings.paths
    if any(paths.work.iterdir()) or any(paths.outbox.iterdir()):
        return None
    paused, hindrance = pause_reason(paths), obstacles.obstacle(settings)
    return None if paused is None and hindrance is None else Swept(paused=paused, hindrance=hindrance)


def _hindrance(settings: Settings) -> str | None:
    """Why some stay in the inbox; also where it cannot be looked at any more: what was judged is told."""
    from daemon import obstacles

    try:
        return obstacles.obstacle(settings) if _anything_left(settings.paths) else None
    except OSError as error:
        return str(refused.explained(error))


def _drained(settings: Settings) -> str | None:
    """This host's name when it is drained. None also when the database is away just now: what was judged is printed all
    the same."""
    from daemon.cli import store
    from daemon.intake.owner import Owner

    host = Owner.current().host
    with suppress(HarnessError), store.history(settings) as history:
        return host if host in history.drained_hosts() else None
    return None


def _print(swept: Swept, *, as_json: bool, place: object) -> None:
    lines, waiting = swept.lines, swept.waiting
    passed = sum(line.verdict is Verdict.PASSED for line in lines)
    if as_json:
        jobs = [line.as_document() for line in lines]
        screen.document(
            {
                "judged": len(lines),
                "passed": passed,
                "jobs": jobs,
                "waiting": [vars(one) for one in waiting],
                "drained": swept.drained is not None,
                "paused": swept.paused,
                "hindrance": swept.hindrance,
            }
        )
        return
    screen.table(COLUMNS, [line.cells() for line in lines])
    if lines:
        screen.say(f"{passed} of {len(lines)} passed")
    elif not waiting and swept.drained is None and swept.paused is None and swept.hindrance is None:
        screen.line(f"nothing was judged: nothing is ready in {place}")  # no news: cron mails what goes to stderr
    if swept.paused is not None:
        screen.say(f"paused: {swept.paused or 'no reason given'}; while the file `pause` is there nothing is claimed")
    if swept.hindrance is not None:
        screen.say(f"evald: nothing new is claimed: {swept.hindrance}")
    if swept.drained is not None:
        screen.say(
            f"{swept.drained} is drained and takes nothing new; to end it type: "
            f"{here('evald drain')} {swept.drained} --undo"
        )
    for reason, count in Counter(one.reason for one in waiting).items():
        bundles = "1 bundle waits" if count == 1 else f"{count} bundles wait"
        screen.say(f"{bundles} for another host: {reason}")
