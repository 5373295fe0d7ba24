"""What a kernel may have made before the clock ran for calls to come, and how many calls outlast that. No clock here.

Theory of operation: what a call needs that does not come from its inputs, and that it uses up, is memory that has been
cleared or filled. A kernel may have made as many pieces of that before the first round as its memory has room for. Each
saves a call no more than it takes to make. So what all of them together may save is the memory that the kernel's cell
has beyond another one's, at the rate at which memory is filled. If timed calls take many times as long together, hardly
anything of it is hidden: there are rounds until they do.
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
        """Look at what they hold now. The most counts, because what has been used up is held no longer."""
        usual_bytes = max((cell.program.memory_bytes() for cell in self._others), default=0)
        self._most_bytes = max(self._most_bytes, self._mine.program.memory_bytes() - usual_bytes)

    def is_outlasted(self, timed_s: float) -> bool:
        """Whether what may have been made ahead is little compared with calls that took so long together."""
        return self._most_bytes / _FILLED_PER_S <= _SHARE * timed_s
