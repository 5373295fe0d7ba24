"""Submitters take turns at the slots of one daemon: whoever was served last comes last, at equal priority."""

from __future__ import annotations

import threading

_REMEMBERED = 64


class Turns:
    """Who was served, longest ago first. Safe to use from several threads."""

    def __init__(self) -> None:
        self._order: dict[int, None] = {}
        self._lock = threading.Lock()

    def served(self, submitter_uid: int | None) -> None:
        """A job of this submitter was taken."""
        if submitter_uid is None:
            return
        with self._lock:
            self._order.pop(submitter_uid, None)
            self._order[submitter_uid] = None
            if len(self._order) > _REMEMBERED:
                del self._order[next(iter(self._order))]

    @property
    def order(self) -> tuple[int, ...]:
        """Those served, longest ago first. Whoever is not among them comes before them."""
        with self._lock:
            return tuple(self._order)
