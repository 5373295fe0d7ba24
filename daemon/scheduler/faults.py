"""At whose jobs evald failed, at one slot, and what that slot leaves alone therefore: this submitter's jobs, or all.

Theory of operation: whatever makes jobs fail must not use up all of their attempts in seconds, so there is a pause
after each fault. The cause may be what one submitter has dropped, and then nobody else should wait for it. So the more
of a submitter's jobs fail in a row, the longer this slot takes none of his; the slot itself rests for a moment only. If
jobs of several submitters fail one after the other, the cause is the slot. Then it rests the longer, the more of them
there were.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

_PAUSE_S = 2.0
_LONGEST_S = 60.0
_COUNTED = 10
_REMEMBERED = 64

Whose = TypeVar("Whose", bound=Hashable)


class Faults(Generic[Whose]):
    """What failed at one slot. For the slot's own thread; `left_alone` may be called from others."""

    def __init__(self) -> None:
        self._failing: set[Hashable] = set()  # since a job went well here
        self._in_a_row: dict[Whose, int] = {}
        self._until_s: dict[Whose, float] = {}

    def failed(self, whose: Whose | None, now_s: float) -> float:
        """A job of this submitter failed. Returns for how many seconds the slot should rest. `whose` None: nobody knows
        whose job it was, so nobody is left alone."""
        self._failing.add(object() if whose is None else whose)
        if whose is not None:
            count = self._in_a_row[whose] = self._in_a_row.pop(whose, 0) + 1
            self._until_s = {**self._until_s, whose: now_s + _pause_s(count)}
            if len(self._in_a_row) > _REMEMBERED:
                self._forget(next(iter(self._in_a_row)))
        return _pause_s(len(self._failing))

    def went_well(self, whose: Whose | None) -> None:
        """A job of this submitter went well: neither the slot nor the submitter is at fault."""
        self._failing.clear()
        if whose is not None:
            self._forget(whose)

    def left_alone(self, now_s: float) -> frozenset[Whose]:
        """The submitters of whom this slot takes no job now."""
        return frozenset(whose for whose, until_s in self._until_s.items() if until_s > now_s)

    def _forget(self, whose: Whose) -> None:
        self._in_a_row.pop(whose, None)
        self._until_s = {other: until_s for other, until_s in self._until_s.items() if other != whose}


def _pause_s(count: int) -> float:
    return float(min(_PAUSE_S * 2 ** min(count - 1, _COUNTED), _LONGEST_S))
