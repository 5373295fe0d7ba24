"""Whose job next at the slots of one daemon: at equal priority submitters take turns, whoever was served last comes
last; and every eighth turn is for the oldest job, whatever its priority, so that none waits for ever."""

from __future__ import annotations

import threading

_REMEMBERED = 64
_EVERY = 8


class Turns:
    """Who was served, longest ago first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._order: dict[int, None] = {}
        self._served = 0
        self._lock = threading.Lock()

    def served(self, submitter_uid: int | None) -> None:
        """A job of this submitter was taken."""
        with self._lock:
            self._served += 1
            if submitter_uid is None:
                return
            self._order.pop(submitter_uid, None)
            self._order[submitter_uid] = None
            if len(self._order) > _REMEMBERED:
                del self._order[next(iter(self._order))]

    def is_for_the_oldest(self) -> bool:
        """Whether priority does not count this time."""
        with self._lock:
            return self._served % _EVERY == _EVERY - 1

    @property
    def order(self) -> tuple[int, ...]:
        """Those served, longest ago first. Whoever is not among them comes before them."""
        with self._lock:
            return tuple(self._order)
