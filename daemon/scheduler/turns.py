"""Whose job is next at the slots of one daemon.

- At equal priority submitters take turns: whoever was served last comes last.
- Every eighth turn is for the oldest job, whatever its priority, so that none waits for ever.
- What cannot be judged now is passed over for a while.
"""

from __future__ import annotations

import threading

from daemon.callers import Sender

_REMEMBERED = 64
_EVERY = 8
_POSTPONED = 200


class Turns:
    """Who was served, longest ago first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._order: dict[Sender, None] = {}
        self._served = 0
        self._lock = threading.Lock()

    def served(self, sender: Sender) -> None:
        """A job of this submitter was taken."""
        with self._lock:
            self._served += 1
            if sender[0] is None:
                return
            self._order.pop(sender, None)
            self._order[sender] = None
            if len(self._order) > _REMEMBERED:
                del self._order[next(iter(self._order))]

    def is_for_the_oldest(self) -> bool:
        """Whether priority does not count this time."""
        with self._lock:
            return self._served % _EVERY == _EVERY - 1

    @property
    def order(self) -> tuple[Sender, ...]:
        """Those served, longest ago first. Whoever is not among them comes before them."""
        with self._lock:
            return tuple(self._order)


class Postponed:
    """Jobs that are passed over for `seconds` each. Safe to use from several threads."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._until_s: dict[str, float] = {}
        self._lock = threading.Lock()

    def add(self, job_id: str, now_s: float) -> bool:
        """Pass it over from now on. False when there are more than can be remembered: then the oldest is forgotten."""
        with self._lock:
            self._until_s[job_id] = now_s + self._seconds
            if len(self._until_s) <= _POSTPONED:
                return True
            del self._until_s[next(iter(self._until_s))]
            return False

    def ids(self, now_s: float) -> frozenset[str]:
        """Those that are passed over now."""
        with self._lock:
            self._until_s = {job_id: until_s for job_id, until_s in self._until_s.items() if until_s > now_s}
            return frozenset(self._until_s)
