"""Following submitted jobs until they have ended, by asking the database.

A bundle may move at any moment: from the inbox to `work/` with a row in the database, and back to the inbox when its
daemon stops. A daemon that is at work always shows in the database: as a job with a lease, or as the reason why it
cannot serve one. When nothing shows, we say so once, and why, as far as that can be told.
"""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from daemon.cli import coming, health, interrupt, screen, store
from daemon.cli.commands_to_type import here, program
from daemon.cli.outcome import Line
from daemon.db.errors import StorageUnavailable
from daemon.errors import EvaldError, HarnessError
from daemon.lifecycle import JobState

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.config import Settings
    from daemon.db.history import History
    from daemon.db.records import DeferralRecord, JobRecord
    from daemon.intake.submit import Dropped

_PAUSE_S = 0.2
_REST = 9  # times the processor time of a look, because others are measured beside us
_HELD_READ = 100
_PATIENCE_S = 15.0  # a daemon that is just being started shows once its first judge is ready


def wait_for(settings: Settings, dropped: list[Dropped], timeout_s: float | None) -> list[Line]:
    """Wait until every job has ended, or `timeout_s` is over. Returns the jobs that have ended, in the order dropped.

    Raises `KeyboardInterrupt` for every signal that asks to end.
    """
    ended: dict[str, Line] = {}
    started_s = time.monotonic()
    alone_since_s: float | None = started_s
    told = False
    starting: set[int] = set()
    explained: set[str] = set()
    with interrupt.noted(signal.SIGTERM, signal.SIGHUP) as asked, _display(len(dropped)) as show:
        while True:
            began_s = time.process_time()
            waiting = [one for one in dropped if one.job_id not in ended]
            states, deferrals, served = _look(settings, waiting, ended)
            _explain(deferrals, explained)
            now_s = time.monotonic()
            if len(ended) == len(dropped):
                break
            show(len(ended), states)
            alone_since_s = None if served else alone_since_s or now_s
            is_over = timeout_s is not None and now_s - started_s > timeout_s
            if not told and alone_since_s is not None and (is_over or now_s - alone_since_s > _PATIENCE_S):
                told = _say_what_hinders(settings, starting)
                alone_since_s = now_s
            if is_over:
                break
            if asked.wait(max(_PAUSE_S, _REST * (time.process_time() - began_s))):
                raise KeyboardInterrupt
    return [ended[one.job_id] for one in dropped if one.job_id in ended]


def _look(
    settings: Settings, waiting: list[Dropped], ended: dict[str, Line]
) -> tuple[list[str], Sequence[DeferralRecord], bool]:
    """One look at the jobs: what they are doing, which of them wait for a device, and whether any daemon is there.

    One query asks about all jobs: to ask about hundreds one by one would take a core away from what is measured. A
    database that does not answer is waited for. One that answers with a refusal raises `StorageRefused`.
    """
    try:
        with store.history_if_any(settings) as history:
            if history is None:
                return [], (), False
            glances = history.glances([one.job_id for one in waiting])
            for job_id, glance in glances.items():
                if glance.state.final and glance.has_result and (job := history.job(job_id)) is not None:
                    ended[job_id] = Line.of_record(job)
            deferrals = history.deferrals_of([one for one in glances if glances[one].state is JobState.QUEUED])
            held = [job for job in _held(history) if _leased(job)]
            states = [f"{job.name}: {job.progress or job.state}" for job in held if job.job_id in glances]
            return states, deferrals, bool(deferrals or held)
    except StorageUnavailable:
        return [], (), False


def _explain(deferrals: Sequence[DeferralRecord], explained: set[str]) -> None:
    """Say once about each job why it waits although a daemon is there."""
    for one in deferrals:
        if one.job_id not in explained:
            screen.say(f"evald: {one.name} waits for a host that can judge it; {one.host} cannot: {one.reason}")
    explained.update(one.job_id for one in deferrals)


def _leased(job: JobRecord) -> bool:
    return job.lease_left_s is not None and job.lease_left_s > 0


def _held(history: History) -> tuple[JobRecord, ...]:
    return history.jobs(state=(JobState.CLAIMED, JobState.RUNNING), limit=_HELD_READ).jobs


def _say_what_hinders(settings: Settings, starting: set[int]) -> bool:
    """Say why nothing happens. False: a daemon is being started, which is said once of each; those that it was said of
    are in `starting`."""
    try:
        with store.history_if_any(settings) as history:
            daemons = tuple(one for one in history.daemons() if one.is_there) if history is not None else ()
    except HarnessError as error:
        screen.say(f"evald: nothing has happened for a while: {error.message}")
        return True
    if not daemons and (process := coming.daemon_for(settings.paths.home)) is not None:
        if process not in starting:
            screen.say(f"evald: a daemon is being started (process {process}), and has no judge yet")
        starting.add(process)
        return False
    if not daemons:
        screen.say("evald: nothing has happened for a while; no daemon seems to be running")
        _say_how_to_run_one(settings)
        return True
    screen.say("evald: nothing has happened for a while")
    reasons = [*health.troubles(daemons), *health.hindrances(settings, daemons)]
    for reason in reasons or [f"{here('evald status')} says what waits; why it is not taken, the log of the daemon"]:
        screen.say(f"  {reason}")
    return True


def say_if_none_runs(settings: Settings) -> None:
    """Say so where no daemon is at work, nor being started, and what to type. Nothing where that cannot be known."""
    with suppress(EvaldError), store.history_if_any(settings) as history:
        if history is None or any(one.is_there for one in history.daemons()):
            return
        if coming.daemon_for(settings.paths.home) is None:
            screen.say("evald: no daemon seems to be running; what was dropped waits for one")
            _say_how_to_run_one(settings)


def _say_how_to_run_one(settings: Settings) -> None:
    run = here("evald run")
    if run == f"{program()} run":  # whatever folder the other terminal is in
        run += f" --home {shlex.quote(str(settings.paths.home))}"
    screen.say(f"  type in another terminal, in this folder: {run}")


@contextmanager
def _display(total: int) -> Iterator[Callable[[int, list[str]], None]]:
    if not screen.on_terminal(sys.stderr):
        yield lambda _done, _states: None
        return
    from rich.markup import escape

    with screen.console(err=True).status("waiting") as status:

        def show(done: int, states: list[str]) -> None:
            now = escape(" · ".join(states[:3])) if states else "waiting for a daemon"
            status.update(f"{done} of {total} judged  [dim]{now}")

        yield show
