"""Who holds the memory when the judge can get none. On a GPU that is found by killing one cell after the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import torch

from daemon.errors import HarnessError
from daemon.evaluation import Failure
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import WHY_KILLED, CellFailed
from daemon.executor.content.memory import HostTaken
from daemon.executor.host.processes import memory_here
from daemon.verdict import Phase, Side, Verdict

_GIB = 1 << 30


def device_full(cells: Sequence[Cell], error: Exception) -> CellFailed:
    """The outcome of a case that left no device memory to judge it in. Every cell is dead afterwards.

    If the judge itself holds more than the cells, the contract's tensors are too large for this device, and nobody is
    to blame. Else the side that held most is.
    """
    held: Counter[Side] = Counter()
    for cell in cells:
        held[cell.side] += _freed_bytes(cell)
    free, total = torch.cuda.mem_get_info()
    needed = str(error).partition(" GPU ")[0]
    listed = ", ".join(f"the {side} {amount / _GIB:.1f} GiB" for side, amount in held.items())
    message = f"no device memory left to judge in: {needed} The judge held {(total - free) / _GIB:.1f} GiB, {listed}"
    if total - free >= sum(held.values()):
        message += f"; the tensors are too large to be judged on a device of {total / _GIB:.0f} GiB"
        return CellFailed(Verdict.UNSUPPORTED, _failure(Side.CANDIDATE, message))
    [(side, _)] = held.most_common(1)
    return CellFailed(Verdict.OUT_OF_MEMORY, _failure(side, message))


def host_full(cells: Sequence[Cell], error: Exception) -> CellFailed:
    """The outcome of a case whose tensors this host has no memory for: nobody's mistake. Raises `HarnessError` where
    neither the case's cells nor this judge hold what is lacking: others do, and may not the next time."""
    if isinstance(error, HostTaken):
        held = memory_here() + sum(cell.program.memory_bytes() for cell in cells if cell.ended is None)
        if held < error.lacking_bytes:
            raise HarnessError(str(error), hint="something else on this host holds it")
    return CellFailed(Verdict.UNSUPPORTED, _failure(Side.CANDIDATE, f"too large to be judged on this host: {error}"))


def blamed(failed: CellFailed, cells: Sequence[Cell]) -> CellFailed:
    """A reference that finds no memory is not to blame if the candidate holds most of the device's."""
    if failed.verdict is not Verdict.OUT_OF_MEMORY or failed.failure.side is not Side.REFERENCE:
        return failed
    held = sum(_freed_bytes(cell) for cell in cells if cell.side is Side.CANDIDATE)
    total = torch.cuda.mem_get_info()[1]
    if held <= total // 2:
        return failed
    message = f"the candidate's process held {held / _GIB:.1f} of {total / _GIB:.1f} GiB of device memory: "
    return CellFailed(Verdict.OUT_OF_MEMORY, _failure(Side.CANDIDATE, f"{message}the reference found none"))


def short_of_memory(cells: Sequence[Cell]) -> set[Side]:
    """The sides of those cells, dead now, of which the kernel killed some process for want of memory, whoever's fault
    that was. Such a cell may have gone on as if nothing had happened, if the killed process was one of its helpers."""
    return {cell.side for cell in cells if cell.ended and (cell.ended.oom_killed or cell.ended.from_outside)}


def consequence(failed: CellFailed, cells: Sequence[Cell]) -> CellFailed:
    """`failed`, unless a wrong answer has another cause: a process of that cell, or of the reference's, was killed for
    want of memory. Then that is the outcome. The cells are dead. Raises `HarnessError` where the host had no memory."""
    sides = short_of_memory(cells) if failed.verdict is Verdict.WRONG_ANSWER else set()
    for side in sorted(sides, key=lambda one: one is not failed.failure.side):
        if any(cell.kill().from_outside for cell in cells if cell.side is side):
            raise HarnessError(
                f"a process of the {side}'s was killed from outside, and its answers are wrong",
                hint=WHY_KILLED,
            )
        message = f"one of its processes was killed for want of memory; what came of that: {failed.failure.message}"
        return CellFailed(Verdict.OUT_OF_MEMORY, failed.failure.model_copy(update={"side": side, "message": message}))
    return failed


def _failure(side: Side, message: str) -> Failure:
    return Failure(phase=Phase.MEASURE, side=side, message=message)


def _freed_bytes(cell: Cell) -> int:
    """What the device has more of when `cell` has been killed."""
    before = _free_bytes()
    cell.kill()
    return _free_bytes() - before


def _free_bytes() -> int:
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info()
    return free
