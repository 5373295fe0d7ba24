"""One kernel in a cell of its own, below a tool: started, called a few times, ended, and the tool's report read.

Theory of operation: everything is prepared as for the checks (sources, weights, an arena with content), but the cell
copies its arguments into memory of its own, so that a tool finds nothing shared. Reference and candidate both get a
cell, because weights and constructor arguments go from one to the other. Only the cell of `side` runs below the tool.
The deadline is the tool's own, and at its end everything is killed. The verdict stands already: what goes wrong here,
the caller decides what it means.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from daemon.errors import DeviceError, HarnessError
from daemon.executor.artifacts.bundle import Request
from daemon.executor.cases.bench import Bench
from daemon.executor.cases.preparation import Preparation
from daemon.executor.cells.capture import printable
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.starting import Tool
from daemon.executor.content.arena import Arena
from daemon.executor.content.inputs import Secret
from daemon.executor.content.memory import SharedMemory, share
from daemon.executor.content.wiring import Wiring
from daemon.executor.timing.side import attach_message
from daemon.executor.timing.stages import Stages
from daemon.verdict import Phase, Side

_PROBLEM_CHARS = 1000


@dataclass(frozen=True)
class CallSample:
    """How one kernel is called, and a content for it: logical inputs [1, *shape], as they were drawn."""

    wiring: Wiring
    values: list[torch.Tensor]


@dataclass(frozen=True)
class CallCounts:
    """How often the kernel is called: `warm` before the tool looks, `counted` while it does (`bracket`: between
    cudaProfilerStart and Stop)."""

    warm: int
    counted: int
    bracket: bool


@dataclass(frozen=True)
class ToolRun:
    """What came of it: the tool's report; and why the run did not come to its end, None where it did."""

    report: str
    problem: str | None


class ToolRunner:
    """Runs kernels of one bundle below tools. Raises only `DeviceError`: whatever else goes wrong is in the answer."""

    def __init__(self, bench: Bench, request: Request, bundle_dir: Path) -> None:
        self._bench = bench
        self._request = request
        self._bundle_dir = bundle_dir
        self._shared: list[SharedMemory] = []

    def run(self, side: Side, sample: CallSample, tool: Tool, calls: CallCounts, *, limit_s: float) -> ToolRun:
        """`side` below `tool`, all of it within `limit_s` seconds."""
        deadline = time.monotonic() + limit_s
        report = os.memfd_create("report", os.MFD_CLOEXEC)
        cells = {**self._bench.cells, side: self._bench.cells[side].under(tool, report)}
        secret = Secret(self._bench.device.kind)
        ready = Preparation(replace(self._bench, cells=cells), self._request, self._bundle_dir, secret, Stages())
        try:
            problem = self._call(ready, side, sample, calls, secret, deadline)
            ready.kill()  # nothing may write to the report while it is read
            return ToolRun(_text(report, tool.report_bytes), problem)
        finally:
            ready.close()
            for memory in self._shared:  # only now: a cell may still have it mapped, whatever it said
                memory.close()
            self._shared.clear()
            os.close(report)

    def _call(
        self, ready: Preparation, side: Side, sample: CallSample, calls: CallCounts, secret: Secret, deadline: float
    ) -> str | None:
        problem: object = None
        try:
            ready.prepare()
            ready.load(deadline)
            cell = ready.cells[side]
            self._isolate(cell, sample, secret, deadline)
            for count, bracket in ((calls.warm, False), (calls.counted, calls.bracket)):
                if count:
                    message = {"type": "call", "calls": count, "seed": secret.seed("tool"), "bracket": bracket}
                    answer = cell.request(message, "called", phase=Phase.REPORT, deadline=deadline)
                    problem = problem or answer.get("error")
        except CellFailed as failed:
            return f"{failed.verdict}: {failed}"
        except DeviceError:
            raise
        except (HarnessError, torch.OutOfMemoryError) as error:  # a tool that does not start is no reason to try again
            return str(error)
        if cell.leave(deadline) is None:
            return "it had not ended when its time was over"
        return None if problem is None else printable(str(problem)[:_PROBLEM_CHARS])

    def _isolate(self, cell: Cell, sample: CallSample, secret: Secret, deadline: float) -> None:
        """One slot with the sample in it, which the cell copies and lets go of."""
        layout = sample.wiring.layout(1)
        memory = share(self._bench.device.kind, layout.total_bytes)
        self._shared.append(memory)
        arena = Arena(layout, memory)
        arena.compose(secret.generator("tool"), [0])
        for logical, placed in sample.wiring.inputs(layout):
            arena.place([0], placed, sample.values[logical])
        arena.publish([0])
        arena.settle()
        message = attach_message(sample.wiring, arena) | {"type": "isolate"}
        cell.request(message, "isolated", phase=Phase.REPORT, deadline=deadline, fds=memory.fds)


def _text(fd: int, limit_bytes: int) -> str:
    return os.pread(fd, limit_bytes, 0).decode("utf-8", "replace")
