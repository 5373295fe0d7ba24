"""How many jobs a run has brought to their end. Counted by the threads of all slots."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """What a run did: how many jobs ended, how many of them passed, and how many evald failed at that have not ended
    since."""

    judged: int
    passed: int
    failed: int


class Tally:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._judged = self._passed = 0
        self._failed: set[str] = set()

    def ended(self, job_id: str, *, passed: bool) -> None:
        """A job did, with a result."""
        with self._lock:
            self._judged += 1
            self._passed += passed
            self._failed.discard(job_id)

    def failed(self, job_id: str) -> None:
        """Evald did, before this job's end."""
        with self._lock:
            self._failed.add(job_id)

    @property
    def summary(self) -> Summary:
        """What was counted so far."""
        with self._lock:
            return Summary(self._judged, self._passed, len(self._failed))
