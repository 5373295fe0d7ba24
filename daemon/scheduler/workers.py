"""Threads that do jobs: as many as the engine wants at once, each alive as long as the service.

A judge's parent-death signal belongs to the thread that started it, so the threads are never replaced. What a job is,
where it comes from and what doing it means are given as functions: this room knows no database, no disk and no engine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from daemon import log
from daemon.errors import HarnessError
from daemon.scheduler.faults import Faults, Whose

Job = TypeVar("Job")
_IDLE_LIMIT_S = 1.0
_PAUSE_AFTER_FAULT_S = 2.0


class Workers(Generic[Job, Whose]):
    """Threads that do jobs. `take` answers the next job or None, and none of the submitters that it is given. `work`
    does it, handles its own outcomes, and answers whether it went well. `whose` tells whose it is, None where nobody
    knows.

    `HarnessError` and `OSError` from either pause the thread for a moment. So does a job that did not go well; what
    else that means is up to `Faults`. Any other exception is a bug: it is logged and the thread goes on.
    """

    def __init__(
        self,
        count: int,
        take: Callable[[frozenset[Whose]], Job | None],
        work: Callable[[Job], bool],
        whose: Callable[[Job], Whose | None] = lambda _: None,
    ) -> None:
        self._take = take
        self._work = work
        self._whose = whose
        self._faults = [Faults[Whose]() for _ in range(count)]
        self._changed = threading.Condition()
        self._stopping = False
        self._last_fault = ""
        self._busy = 0
        self._taken = 0
        self._wakes = 0
        self._threads = [
            threading.Thread(target=self._serve, args=(faults,), name=f"slot-{slot}", daemon=True)
            for slot, faults in enumerate(self._faults)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> int:
        """How many jobs are being done now, or asked for."""
        return self._busy

    def left_alone(self) -> frozenset[Whose]:
        """Those of whom no thread takes a job now."""
        now_s = time.monotonic()
        told = [faults.left_alone(now_s) for faults in self._faults]
        return frozenset.intersection(*told) if told else frozenset()

    def have_work(self, waits: Callable[[], bool]) -> bool:
        """Whether a job is being done, or `waits()` to be. Neither what a thread takes meanwhile is overlooked, nor
        what goes back to wait."""
        taken = self._taken
        return self._busy > 0 or waits() or self._busy > 0 or self._taken != taken

    def wake(self) -> None:
        """There may be something to take."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """Take nothing more, and wait at most `timeout_s` for all that is being done. True when all threads have ended
        in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self, faults: Faults[Whose]) -> None:
        while not self._stopping:
            seen = self._wakes
            try:
                pause_s = self._one(faults)
                self._last_fault = ""
                if pause_s is None:
                    self._rest(seen)
                elif pause_s:
                    self._pause(pause_s)
            except (HarnessError, OSError) as error:
                if str(error) != self._last_fault:  # an outage is told once, not at every try
                    log.story("cannot take or finish a job now", level=30, reason=error)
                self._last_fault = str(error)
                self._pause()
            except Exception:  # noqa: BLE001 - the scheduler's per-job wall: a bug must not cost the slot
                log.LOGGER.exception("a job ended with a bug in evald")
                self._pause()

    def _one(self, faults: Faults[Whose]) -> float | None:
        """Do one job: for how long to rest after it. None when there is none."""
        with self._changed:
            self._busy += 1
        try:
            job = self._take(faults.left_alone(time.monotonic()))
            if job is None:
                return None
            with self._changed:
                self._taken += 1
            if not self._work(job):
                return faults.failed(self._whose(job), time.monotonic())
            faults.went_well(self._whose(job))
            return 0.0
        finally:
            with self._changed:
                self._busy -= 1

    def _rest(self, seen: int) -> None:
        with self._changed:
            if self._wakes == seen and not self._stopping:
                self._changed.wait(_IDLE_LIMIT_S)

    def _pause(self, pause_s: float | None = None) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, _PAUSE_AFTER_FAULT_S if pause_s is None else pause_s)
