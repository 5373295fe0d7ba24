"""Cells that stand ready before they are needed: forked, behind their walls, on a GPU with their context made.

Theory of operation: the judge has them started while it works on the case before, in a thread of its own, because most
of that is waiting. They come up by themselves. Making a context keeps a GPU busy. So while something is measured, those
that have not come up yet are stopped where they are (`Nursery.still`), and go on afterwards. With two of a kind ready,
the next case need not wait for what this one put off.

When nothing at all is to be done, spares load what kernels often want of torch (`preloading`), step by step. A spare
has seen nothing of any bundle. It is handed out once, and killed after its one evaluation like every cell.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum, auto
from typing import Protocol

from daemon import log
from daemon.errors import HarnessError
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.starting import Cells, Tool
from daemon.verdict import Phase, Side

_STEP_LIMIT_S = 30.0


class Preloaded(Enum):
    """What came of a moment in which spares could load something. `WAITING`: a spare that is not up yet will be able
    to."""

    STEP = auto()
    WAITING = auto()
    ALL = auto()


class CellSource(Protocol):
    """Whatever cells come from."""

    def start(self, side: Side) -> Cell:
        """A cell that has been told to start; `Cell.greet` waits until it is ready. Raises `HarnessError`."""

    def under(self, tool: Tool, report_fd: int) -> CellSource:
        """The same cells, each below `tool`."""


class Spares:
    """Starts cells as `cells` does, and keeps up to `count` more of them ready. One thread may refill while another
    one starts cells."""

    def __init__(self, cells: Cells, count: int) -> None:
        self._cells = cells
        self.count = count
        self._ready: deque[Cell] = deque()
        self._stopped: list[Cell] = []
        self._preloaded: set[Cell] = set()

    def start(self, side: Side) -> Cell:
        """The spare that was started first, if it comes up; else a fresh one. Raises `HarnessError`."""
        while self._ready:
            cell = self._ready.popleft()
            self._preloaded.discard(cell)
            if cell in self._stopped:  # the others stay so; this one is wanted now
                self._stopped.remove(cell)
                cell.thaw()
            if cell.program.poll() is None and _comes_up(cell):
                cell.side = side
                return cell
            cell.kill()
        return self._cells.start(side)

    def under(self, tool: Tool, report_fd: int) -> Cells:
        """Cells below `tool`; none of those is kept ready."""
        return self._cells.under(tool, report_fd)

    def refill(self) -> None:
        """Start what is missing, without waiting until it is up. What fails is told when a cell is really needed."""
        try:
            while len(self._ready) < self.count:
                self._ready.append(self._cells.start(Side.CANDIDATE))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no fault of the case that wanted spares
            log.story("no spare cell", level=30, reason=f"{type(error).__name__}: {error}")

    def preload(self, place: int) -> Preloaded:
        """Do one step in the spare that is number `place` of those to be handed out. A spare that fails is let go."""
        cell = next(iter(tuple(self._ready)[place:]), None)
        if cell is None or cell in self._preloaded:
            return Preloaded.ALL
        try:
            if not cell.is_up():
                return Preloaded.WAITING
            deadline = time.monotonic() + _STEP_LIMIT_S
            answer = cell.request({"type": "preload"}, "preloaded", phase=Phase.LOAD, deadline=deadline)
        except (CellFailed, HarnessError) as failed:
            self._let_go(cell, failed)
            return Preloaded.ALL
        if answer.get("left") is not True:
            self._preloaded.add(cell)
        return Preloaded.STEP

    def _let_go(self, cell: Cell, failed: Exception) -> None:
        self._ready.remove(cell)
        self._preloaded.discard(cell)
        cell.kill()
        log.story("a spare cell did not start", level=30, reason=failed)

    def settle(self) -> None:
        """Wait until all have come up. One that does not is let go."""
        for cell in tuple(self._ready):
            try:
                cell.greet()
            except HarnessError as failed:
                self._let_go(cell, failed)

    def stop(self) -> None:
        """Stop those that have not come up yet where they are. A spare that cannot be stopped is let go."""
        for cell in tuple(self._ready):
            try:
                if not cell.is_up():
                    cell.freeze()
                    self._stopped.append(cell)
            except (CellFailed, HarnessError, OSError) as failed:
                self._let_go(cell, failed)

    def go_on(self) -> None:
        """Let the stopped ones come up."""
        while self._stopped:
            with suppress(OSError):  # of one that has died there is nothing to thaw
                self._stopped.pop().thaw()

    def close(self) -> None:
        """Kill them."""
        self._preloaded.clear()
        while self._ready:
            self._ready.pop().kill()


def _comes_up(cell: Cell) -> bool:
    try:
        cell.greet()
    except HarnessError as error:
        log.story("a spare cell did not start", level=30, reason=error)
        return False
    return True


class Nursery:
    """The spares of one judge, by side. Nothing but this starts them, one after the other."""

    def __init__(self, spares: Mapping[Side, Spares]) -> None:
        self.spares = spares
        # This thread stays: a zygote dies with the thread that started it.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="spares")
        self._is_still = False
        self._coming: Future[None] | None = None

    def refill(self) -> None:
        """Have the missing ones started, and do not wait for it."""
        if self._coming is None or self._coming.done():
            self._coming = self._worker.submit(self._refill)

    def _refill(self) -> None:
        for spares in self.spares.values():
            spares.refill()

    def preload(self) -> Preloaded:
        """Do one step in the spare that will be wanted first, of those that have steps left. To be called when there is
        nothing better to do."""
        found = {Preloaded.ALL if self._coming is None or self._coming.done() else Preloaded.WAITING}
        for place in range(max(spares.count for spares in self.spares.values())):
            for spares in self.spares.values():
                if (one := spares.preload(place)) is Preloaded.STEP:
                    return one
                found.add(one)
        return Preloaded.WAITING if Preloaded.WAITING in found else Preloaded.ALL

    def _wait(self) -> None:
        if self._coming is not None:
            wait([self._coming])

    def settle(self) -> None:
        """Wait until nothing is coming up any more."""
        self._wait()
        for spares in self.spares.values():
            spares.settle()

    @contextmanager
    def still(self) -> Iterator[None]:
        """During the block, no spare does anything. If blocks are nested, until the outer one ends."""
        if self._is_still:
            yield
            return
        self._wait()
        self._is_still = True
        try:
            with ExitStack() as afterwards:
                for spares in self.spares.values():
                    afterwards.callback(spares.go_on)
                    spares.stop()
                yield
        finally:
            self._is_still = False

    def close(self) -> None:
        """Kill them all. Not to be used any more."""
        self._wait()
        for spares in self.spares.values():
            spares.close()
        self._worker.shutdown()
