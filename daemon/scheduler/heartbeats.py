"""Keeps leases alive while their jobs run, and tells when one is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from daemon.errors import HarnessError, LostClaim


class HasJobId(Protocol):
    """What a lease must say here."""

    @property
    def job_id(self) -> str: ...


Lease = TypeVar("Lease", bound=HasJobId)
_NEWS_S = 1.0  # between two words about one job


@dataclass
class _Beat(Generic[Lease]):
    lease: Lease
    progress: str | None
    due_s: float
    sent_s: float = 0.0


class Heartbeats(Generic[Lease]):
    """Heartbeats of all running jobs, sent by whoever calls `send` (the main loop), a third of the lease apart; sooner
    where there is progress to tell.

    `extend(lease, progress)` raises `LostClaim` when the lease is gone. The lease is then forgotten and `on_lost`
    called, which must not call anything here. A storage fault is ignored: the lease may run out, and publishing will
    find out.
    """

    def __init__(
        self, every_s: float, extend: Callable[[Lease, str | None], object], on_lost: Callable[[Lease], None]
    ) -> None:
        self._every_s = every_s
        self._extend = extend
        self._on_lost = on_lost
        self._beats: dict[str, _Beat[Lease]] = {}
        self._lock = threading.Lock()

    def add(self, lease: Lease) -> None:
        with self._lock:
            self._beats[lease.job_id] = _Beat(lease, None, time.monotonic() + self._every_s)

    def remove(self, job_id: str) -> None:
        with self._lock:
            self._beats.pop(job_id, None)

    def note(self, job_id: str, progress: str) -> bool:
        """Keep `progress` for the next heartbeat, which comes soon if this is news. False: its lease is not kept, or no
        longer."""
        with self._lock:
            if (beat := self._beats.get(job_id)) is None:
                return False
            if beat.progress != progress:
                beat.progress = progress
                beat.due_s = min(beat.due_s, beat.sent_s + _NEWS_S)
            return True

    @property
    def leases(self) -> list[Lease]:
        with self._lock:
            return [beat.lease for beat in self._beats.values()]

    def _is_current(self, beat: _Beat[Lease]) -> bool:
        with self._lock:
            return self._beats.get(beat.lease.job_id) is beat

    def _lose(self, beat: _Beat[Lease]) -> None:
        with self._lock:  # its slot waits to be rid of it, so what it does next, that job anew perhaps, is not ended
            if self._beats.get(beat.lease.job_id) is beat:
                del self._beats[beat.lease.job_id]
                self._on_lost(beat.lease)

    def send(self, *, everybody: bool = False) -> None:
        """Send what is due. With `everybody` also what is not due by this clock, which stands still while the machine
        sleeps, and does not jump when the database's is set. Raises `HarnessError` where `everybody` could not be
        sent."""
        now_s = time.monotonic()
        with self._lock:
            due = [beat for beat in self._beats.values() if everybody or beat.due_s <= now_s]
        for number, beat in enumerate(due):
            if not self._is_current(beat):  # it ended, and perhaps has begun anew, while the others were told
                continue
            beat.due_s, beat.sent_s = now_s + self._every_s, now_s
            try:
                self._extend(beat.lease, beat.progress)
            except LostClaim:
                self._lose(beat)
            except HarnessError:
                # All of them again at the next turn, before somebody takes their leases for those of a dead daemon.
                for left in due[number:]:
                    left.due_s = now_s
                if everybody:
                    raise
                return
