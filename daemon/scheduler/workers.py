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

Job = TypeVar("Job")
_IDLE_LIMIT_S = 1.0
_PAUSE_AFTER_FAULT_S = 2.0
_LONGEST_PAUSE_S = 60.0
_FAULTS_COUNTED = 10


class Workers(Generic[Job]):
    """`take` answers the next job or None; `work` does it, handles its own outcomes, and answers whether it went well.

    `HarnessError` and `OSError` from either pause the thread for a moment; so does a job that did not go well, and the
    longer the more of them there were in a row: whatever fails them must not use up every job's attempts in seconds.
    Any other exception is a bug: it is logged and the thread goes on.
    """

    def __init__(self, count: int, take: Callable[[], Job | None], work: Callable[[Job], bool]) -> None:
        self._take = take
        self._work = work
        self._changed = threading.Condition()
        self._stopping = False
        self._last_fault = ""
        self._busy = 0
        self._wakes = 0
        self._threads = [
            threading.Thread(target=self._serve, name=f"slot-{slot}", daemon=True) for slot in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def busy(self) -> int:
        """How many jobs are being done now."""
        return self._busy

    def wake(self) -> None:
        """There may be something to take."""
        with self._changed:
            self._wakes += 1
            self._changed.notify_all()

    def stop(self, timeout_s: float) -> bool:
        """Take nothing more and wait for what is being done, all of it together for `timeout_s` at most. True when all
        threads have ended in time."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0.0))
        return not any(thread.is_alive() for thread in self._threads)

    def _serve(self) -> None:
        failed_in_a_row = 0
        while not self._stopping:
            seen = self._wakes
            try:
                went_well = self._one()
                self._last_fault = ""
                if went_well is None:
                    self._rest(seen)
                elif went_well:
                    failed_in_a_row = 0
                else:
                    self._pause(min(_PAUSE_AFTER_FAULT_S * 2**failed_in_a_row, _LONGEST_PAUSE_S))
                    failed_in_a_row = min(failed_in_a_row + 1, _FAULTS_COUNTED)
            except (HarnessError, OSError) as error:
                if str(error) != self._last_fault:  # an outage is told once, not at every try
                    log.story("cannot take or finish a job now", level=30, reason=error)
                self._last_fault = str(error)
                self._pause()
            except Exception:  # noqa: BLE001 - the scheduler's per-job wall: a bug must not cost the slot
                log.LOGGER.exception("a job ended with a bug in evald")
                self._pause()

    def _one(self) -> bool | None:
        """Whether a job went well; None when there is none."""
        with self._changed:
            self._busy += 1
        try:
            job = self._take()
            return None if job is None else self._work(job)
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
