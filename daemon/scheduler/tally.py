"""How many jobs a run has brought to their end. Counted by the threads of all slots."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """What a run did: how many jobs ended, how many of them passed, how often evald failed before a job's end."""

    judged: int
    passed: int
    failed: int


class Tally:
    """Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Summary(0, 0, 0)

    def ended(self, *, passed: bool) -> None:
        """A job did, with a result."""
        with self._lock:
            now = self._now
            self._now = Summary(now.judged + 1, now.passed + passed, now.failed)

    def failed(self) -> None:
        """Evald did, before a job's end."""
        with self._lock:
            now = self._now
            self._now = Summary(now.judged, now.passed, now.failed + 1)

    @property
    def summary(self) -> Summary:
        """What was counted so far."""
        return self._now
