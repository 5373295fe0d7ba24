"""Which processors take part in a timed round: one for the judge, one for whichever cell has its turn.

Theory of operation: processors are not alike. The judge keeps its own busy while it waits, and the other hyperthread of
that core is slow then; a virtual machine does not even say which one that is. Left to the scheduler, one cell of a case
ends up on a slow processor for as long as it lives, and another one does not. Rounds without a kernel cost 0.50 ms in
one cell and 0.65 ms in the next, and figures of one kernel varied by eight percent (H100, 16 virtual processors).

So for as long as an evaluation is timed, the judge stays on one core and the first thread of every cell on another one,
the same for the kernels and for the null candidate: they never run at the same time. A cell may move itself elsewhere.
It can hope for no better processor than one that nobody else uses. Where its cgroup can prevent that, it does not get
to the lane of another slot, nor to its own judge's core.

Cells that build, beside a measurement, are kept off all of these processors. The least priority is not enough: a call
that the kernel does not interrupt (one event that hundreds of epolls wait for, by hundreds of descriptors) made whoever
was to wake up on its processor wait for 200 ms.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from daemon.executor.cells.conversation import Cell

_TOPOLOGY = Path("/sys/devices/system/cpu")


@dataclass(frozen=True)
class Lane:
    """The processors of one slot, by the numbers Linux gives them."""

    judge: int
    cells: int


def lane_of(slot: int, cores: list[list[int]]) -> Lane | None:
    """The lane of slot number `slot` on a machine of these cores, a list of processors each. Lanes are taken from the
    end, because interrupts go to the first processors. None where there is no room for another lane and for everybody
    else."""
    room = len(cores) // 2 - 1
    if slot >= room:
        return None
    last = len(cores) - 2 * slot
    return Lane(judge=cores[last - 1][0], cells=cores[last - 2][0])


def beside_lanes(slots: int, cores: list[list[int]]) -> set[int]:
    """The processors that the lanes of so many slots leave to everybody else, whole cores."""
    lanes = sum(lane_of(slot, cores) is not None for slot in range(slots))
    return {number for core in cores[: len(cores) - 2 * lanes] for number in core}


def of_cells(slot: int, slots: int, cores: list[list[int]]) -> set[int]:
    """The processors for the cells of slot number `slot` among `slots`: all but those of other lanes and of its own
    judge's core. Further threads of a cell run on those that everybody shares. None where the slot has no lane."""
    lane = lane_of(slot, cores)
    if lane is None:
        return set()
    its_own = next(core for core in cores if lane.cells in core)
    return beside_lanes(slots, cores) | set(its_own)


def cores_here() -> list[list[int]]:
    """The cores this process may use, each with its processors."""
    allowed = os.sched_getaffinity(0)
    found = {tuple(sorted(_siblings(number) & allowed)) for number in allowed}
    return sorted(list(core) for core in found)


def _siblings(number: int) -> set[int]:
    try:
        text = (_TOPOLOGY / f"cpu{number}/topology/thread_siblings_list").read_text("ascii")
        return parse_list(text) | {number}
    except (OSError, ValueError):
        return {number}


def parse_list(text: str) -> set[int]:
    """Linux's lists of processors: `0-3,8`. Raises `ValueError`."""
    found: set[int] = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return found


@contextmanager
def kept_to(lane: Lane | None, cells: Iterable[Cell]) -> Iterator[None]:
    """During the block, this thread and the first threads of `cells` stay on the lane's processors. Afterwards this
    thread is where it was. Where that is not allowed, nothing is moved: times are noisier then, not wrong."""
    if lane is None:
        yield
        return
    before = os.sched_getaffinity(0)
    try:
        with suppress(OSError):
            os.sched_setaffinity(0, {lane.judge})
        for cell in cells:
            cell.program.keep_to(lane.cells)
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, before)
