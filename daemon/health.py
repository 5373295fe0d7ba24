"""How the service is, told to systemd and written as a Prometheus text file.

Theory of operation: the main loop calls `turn` after each of its turns, the slots call `asking`, and the engine they
use is wrapped so that every message of a judge counts. What counts as proof, and who may wait for how long, is decided
here; what follows from it, in `notify`.
"""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from daemon.contract import Requirements
from daemon.db.history import History
from daemon.engine import DeviceState, Engine, JobSpec, Progress
from daemon.errors import HarnessError
from daemon.evaluation import Evaluation
from daemon.exposition import MetricsFile
from daemon.lifecycle import UNFINISHED, JobState
from daemon.notify import Keeper, Notifier, Vigil

TURN_LIMIT_S = 60.0
STORAGE_STEP_LIMIT_S = 300.0  # copying and unpacking a large bundle
_BEYOND_SILENCE_S = 300.0  # the engine gives a silent judge up by itself
_WATCHING = "watching the inbox"
_REPORT_EVERY_S = 10.0
_CHANGED_EVERY_S = 1.0
_COUNTING_SHARE = 0.02


@dataclass(frozen=True)
class Health:
    """One moment. `jobs`: of all daemons on this database. `running`, `judged`: of this one, since it started.
    `drained`: those of its devices, one per slot, that take no job."""

    slots: int
    running: int = 0
    judged: int = 0
    inbox: int = 0
    jobs: Mapping[JobState, int] = field(default_factory=dict)
    last_finished: datetime | None = None
    trouble: str | None = None
    drained: int = 0

    def status(self) -> str:
        """One line for people."""
        judging = min(self.running, self.slots)
        counts = f"{judging}/{self.slots} slots judging, "
        counts += f"{self.running - judging} made ready, " if self.running > judging else ""
        counts += f"{self.jobs.get(JobState.QUEUED, 0)} queued, "
        counts += f"{self.inbox} in the inbox, {self.judged} judged"
        counts += f", {self.drained} of {self.slots} devices drained" if self.drained else ""
        return f"waiting: {self.trouble}; {counts}" if self.trouble else counts

    def prometheus(self, *, up: bool, started_s: float, now_s: float) -> str:
        """The text exposition format. Times in seconds since 1970."""
        finished_s = self.last_finished.timestamp() if self.last_finished else 0
        gauges: list[tuple[str, str, list[tuple[str, float]]]] = [
            ("up", "1 while the daemon runs, 0 after a clean stop.", [("", up)]),
            (
                "health_timestamp_seconds",
                "When this file was written; old: the daemon is gone or waits.",
                [("", now_s)],
            ),
            ("start_time_seconds", "When the daemon started.", [("", started_s)]),
            ("waiting_for_storage", "1 while database or file system do not answer.", [("", self.trouble is not None)]),
            ("slots", "Jobs this daemon may judge at once.", [("", self.slots)]),
            ("slots_busy", "Jobs this daemon is judging.", [("", min(self.running, self.slots))]),
            ("jobs_made_ready", "Further jobs that it compiles meanwhile.", [("", max(self.running - self.slots, 0))]),
            ("devices_fit", "Devices of this daemon that take jobs.", [("", self.slots - self.drained)]),
            ("devices_drained", "Devices of this daemon that are sick and take none.", [("", self.drained)]),
            ("inbox_waiting", "Bundles in the inbox that nobody has claimed.", [("", self.inbox)]),
            ("jobs", "Jobs in the database by state.", [(f'{{state="{s}"}}', self.jobs.get(s, 0)) for s in JobState]),
            ("last_finished_timestamp_seconds", "When a job ended last; 0: none yet.", [("", finished_s)]),
        ]
        lines = [line for name, text, values in gauges for line in _exposed(name, text, "gauge", values)]
        lines += _exposed("judged_total", "Jobs this daemon has judged.", "counter", [("", self.judged)])
        return "\n".join(lines) + "\n"


def _exposed(name: str, text: str, kind: str, values: list[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP evald_{name} {text}"
    yield f"# TYPE evald_{name} {kind}"
    for labels, value in values:
        yield f"evald_{name}{labels} {float(value):.15g}"


class Monitor:
    """Collects proof of progress and reports. `turn` and `working` belong to the main thread."""

    def __init__(self, notifier: Notifier, history: History, *, slots: int, metrics_file: Path | None) -> None:
        self._notifier = notifier
        self._history = history
        self._metrics_file = None if metrics_file is None else MetricsFile(metrics_file)
        self._vigil = Vigil()
        self._keeper = Keeper(notifier, self._vigil)
        self._turn_limit_s = notifier.watchdog_s or TURN_LIMIT_S
        self._health = Health(slots)
        self._started_s = time.time()
        self._reported_s = -_REPORT_EVERY_S
        self._trouble: str | None = None
        self._next_count_s = 0.0

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Feed the watchdog while the block runs, and leave a last word."""
        if self._notifier.watchdog_s is not None:
            faulthandler.enable()  # the watchdog's SIGABRT then leaves every thread's stack in the journal
        with self._keeper:
            yield
        self._write(up=False)
        if self._metrics_file is not None:
            self._metrics_file.close()

    def ready(self) -> None:
        """The daemon takes bundles from now on."""
        self._notifier.ready("ready")

    def stopping(self) -> None:
        self._keeper.stopping("stopping: giving unfinished bundles back")

    def working(self, doing: str) -> None:
        """The main loop came so far and begins `doing`, which may wait for storage."""
        self._vigil.mark(doing, self._turn_limit_s, storage=True)

    def turn(self, *, inbox: int, running: int, judged: int, drained: int, trouble: str | None) -> None:
        """The main loop completed a turn: it has scanned, or found that it cannot (`trouble`) and will try again."""
        self.working(_WATCHING)
        was = self._health
        changed = (was.running, was.judged, was.drained, self._trouble) != (running, judged, drained, trouble)
        age_s = time.monotonic() - self._reported_s
        listened = self._notifier.is_heard or self._metrics_file is not None
        if not listened or age_s < (_CHANGED_EVERY_S if changed else _REPORT_EVERY_S):
            return
        self._reported_s, self._trouble = time.monotonic(), trouble
        told = replace(was, running=running, judged=judged, inbox=inbox, drained=drained, trouble=trouble)
        self._health = self._measured(told)
        self._keeper.say(self._health.status())
        self._write(up=True)
        self.working(_WATCHING)

    def asking(self) -> None:
        """A slot has finished what it had and asks for work."""
        self._vigil.mark("asking the database for work", STORAGE_STEP_LIMIT_S, storage=True)

    def taking(self, name: str) -> None:
        """A slot has a job and copies its bundle."""
        self._vigil.mark(f"copying {name}", STORAGE_STEP_LIMIT_S, storage=True)

    def watched(self, engine: Engine) -> Engine:
        """`engine`, with every message of its judges as proof of progress."""
        return _WatchedEngine(engine, self._vigil)

    def _measured(self, health: Health) -> Health:
        """With what the database says; as before while it does not answer."""
        if health.trouble is not None:
            return health
        self.working("counting jobs in the database")
        try:
            jobs, last = self._counted(health.jobs), self._history.last_finished_at()
        except HarnessError as error:
            return replace(health, trouble=error.message)
        return replace(health, jobs=jobs, last_finished=last)

    def _counted(self, before: Mapping[JobState, int]) -> Mapping[JobState, int]:
        """Jobs by state. Jobs that have ended grow in number, and so does the time to count them. So they are counted
        again only after a time of which counting is a small part."""
        began_s = time.monotonic()
        if before and began_s < self._next_count_s:
            return {**before, **self._history.counts_by_state(UNFINISHED)}
        found = self._history.counts_by_state()
        took_s = time.monotonic() - began_s
        self._next_count_s = began_s + took_s / _COUNTING_SHARE
        return found

    def _write(self, *, up: bool) -> None:
        if self._metrics_file is None:
            return
        self._metrics_file.write(self._health.prometheus(up=up, started_s=self._started_s, now_s=time.time()))


class _WatchedEngine:
    """`Engine` that marks the calling thread before, during and after."""

    def __init__(self, engine: Engine, vigil: Vigil) -> None:
        self._engine = engine
        self._vigil = vigil
        self._limit_s = engine.silence_s + _BEYOND_SILENCE_S

    @property
    def slots(self) -> int:
        return self._engine.slots

    @property
    def at_once(self) -> int:
        return self._engine.at_once

    @property
    def silence_s(self) -> float:
        return self._engine.silence_s

    def devices(self) -> tuple[DeviceState, ...]:
        return self._engine.devices()

    def refusal(self, requires: Requirements) -> str | None:
        return self._engine.refusal(requires)

    def ready(self) -> None:
        self._vigil.mark("starting a judge", self._limit_s)
        self._engine.ready()

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        def noted(progress: Progress) -> None:
            self._vigil.mark(f"judging {job.name}", self._limit_s)
            on_progress(progress)

        self._vigil.mark(f"judging {job.name}", self._limit_s)
        try:
            return self._engine.evaluate(job, noted)
        finally:
            self._vigil.mark(f"publishing {job.name}", STORAGE_STEP_LIMIT_S, storage=True)

    def cancel(self, job_id: str) -> None:
        self._engine.cancel(job_id)

    def close(self) -> None:
        self._engine.close()
