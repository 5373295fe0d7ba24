"""What a kernel may have made before the clock ran for calls to come, and how many calls outlast that. No clock here.

Theory of operation: what a call needs that does not come from its inputs, and that it uses up, is memory that has been
cleared or filled. A kernel may hold as many pieces of that, made before the first round, as its memory has room for,
and each saves a call no more than making it takes. So what all of them may save, together, is the memory that the
kernel's cell has beyond another one's, at the rate at which memory is filled. Timed calls that take many times as long
together hide nothing of it: there are rounds until they do.
"""

from __future__ import annotations

from collections.abc import Sequence

from daemon.executor.cells.conversation import Cell

_FILLED_PER_S = 8e9  # bytes; a core clears about so much
_SHARE = 0.15  # of what timed calls take, that may have been saved


class Hoard:
    """`mine`: the cell of who may be out to deceive. `others`: a reference's, say, which holds what a cell holds."""

    def __init__(self, mine: Cell, others: Sequence[Cell]) -> None:
        self._mine = mine
        self._others = others
        self._most_bytes = 0

    def look(self) -> None:
        """At what they hold now: the most counts, for what has been used up is held no longer."""
        usual_bytes = max((cell.program.memory_bytes() for cell in self._others), default=0)
        self._most_bytes = max(self._most_bytes, self._mine.program.memory_bytes() - usual_bytes)

    def is_outlasted(self, timed_s: float) -> bool:
        """Whether calls that took so long together have little of what may have been made ahead."""
        return self._most_bytes / _FILLED_PER_S <= _SHARE * timed_s
