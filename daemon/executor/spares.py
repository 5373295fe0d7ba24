"""Cells that stand ready before they are needed: forked, behind their walls, on a GPU with their context made.

Theory of operation: the judge starts them while a cell of the case before imports its source, and they come up by
themselves. Before anything is measured it waits until all of them stand still (`settle`): making a context
keeps a GPU busy. A spare has seen nothing of any bundle; it is handed out once, and killed after its one evaluation
like every cell.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

from daemon import log
from daemon.errors import HarnessError
from daemon.executor.cells import Cell, Cells, Tool
from daemon.verdict import Side


class Starter(Protocol):
    """Whatever cells come from."""

    def start(self, side: Side) -> Cell:
        """A cell that has been told to start; `Cell.greet` waits until it is ready. Raises `HarnessError`."""

    def under(self, tool: Tool, report_fd: int) -> Starter:
        """The same cells, each below `tool`."""


class Spares:
    """Starts cells as `cells` does, and keeps up to `count` more of them ready. Not for several threads."""

    def __init__(self, cells: Cells, count: int) -> None:
        self._cells = cells
        self._count = count
        self._ready: deque[Cell] = deque()

    def start(self, side: Side) -> Cell:
        """The spare that was started first, if it still lives; else a fresh one. Raises `HarnessError`."""
        while self._ready:
            cell = self._ready.popleft()
            if cell.program.poll() is None:
                cell.side = side
                return cell
            cell.kill()
        return self._cells.start(side)

    def under(self, tool: Tool, report_fd: int) -> Cells:
        """Cells below `tool`; none of those is kept ready."""
        return self._cells.under(tool, report_fd)

    def refill(self) -> None:
        """Start what is missing, without waiting for it. What fails is told when a cell is really needed."""
        try:
            while len(self._ready) < self._count:
                self._ready.append(self._cells.start(Side.CANDIDATE))
        except (HarnessError, OSError) as error:
            log.story("no spare cell", level=30, reason=error)

    def settle(self) -> None:
        """Wait until every spare stands ready and still. One that does not come up is let go."""
        for cell in tuple(self._ready):
            try:
                cell.greet()
            except HarnessError as error:
                self._ready.remove(cell)
                log.story("a spare cell did not start", level=30, reason=error)

    def close(self) -> None:
        """Kill them."""
        while self._ready:
            self._ready.pop().kill()
