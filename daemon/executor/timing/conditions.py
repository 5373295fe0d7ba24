"""What the device is like around a timed round: cold caches, nothing else running, which clocks.

Theory of operation. Different processes take turns on a GPU in time slices. So a kernel of another process that is
still running, however small, keeps the judge's own from starting at once: a launch of a known length that takes much
longer than it did on an idle GPU says that somebody is at work. A frozen cell cannot launch anything, but what it
launched before runs on; the probe finds that. Caches are made cold by reading twice as much as the L2 holds, after
everything that the judge itself writes: the late part of the content alone is written later.
Source: CUDA C++ Programming Guide, "Device memory L2 access management".
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Protocol

import torch

from daemon.errors import DeviceError
from daemon.evaluation import Failure
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed
from daemon.executor.shared import driver
from daemon.executor.timing import strangers
from daemon.executor.timing.telemetry import Telemetry
from daemon.executor.timing.wakeful import Wakeful
from daemon.verdict import Phase, Verdict

_PROBE_KERNELS = 16
_PROBE_WORDS = 1024
_PROBES_TO_LEARN = 64
_PROBES_TO_TELL = 3
_BUSY_FACTOR = 2.0
_BUSY_MARGIN_S = 8e-5
_PATIENCE_S = 0.1  # a hiccup of the host looks like work for a moment
_AFTER_A_KILL_S = 3.0
_LOOK_BACK_S = 1.0
_OF_L2 = 2


@dataclass(frozen=True)
class Reading:
    """Clocks (MHz), temperature (degrees Celsius) and power (watts) right after a round; None where the device does not
    tell. `slowed`: why the driver held the clocks down to protect the hardware. `capped`: at the power limit."""

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    slowed: tuple[str, ...] = ()
    capped: bool = False


UNKNOWN = Reading()


class Conditions(Protocol):
    """Of one device, asked by the judge that has it.

    `stay_awake`: whether the judge keeps its core busy while it waits for a round to end. A core that has slept for
    long takes longer to wake up than one that has just dozed off, and null rounds are short: on a virtual machine with
    an H200 that made every round of several milliseconds 0.2 to 0.35 ms too long.
    """

    stay_awake: bool

    def cool(self) -> None:
        """Nothing of the arena in a cache, nothing kept in one by request."""

    def is_idle(self, patience_s: float = _PATIENCE_S) -> bool:
        """Whether nothing but this process works on the device; asks again for a while before it says no."""

    def stranger(self, since_s: float, within_s: float = 0.0) -> int | None:
        """The pid of a process that is not evald's and has been at work on the device after `since_s` (seconds since
        the epoch), or is within `within_s`; None where nobody was, or it is not told."""

    def read(self) -> Reading: ...

    def make_way(self) -> None:
        """A cell is about to have its turn: leave it its processor."""

    def step_in(self) -> None:
        """Its turn is over: keep that processor awake."""


class HostConditions:
    """A CPU. A frozen cell does nothing there, its clocks are not ours to know, and a judge that kept a core busy would
    take it from the kernel."""

    stay_awake = False

    def cool(self) -> None:
        return

    def is_idle(self, patience_s: float = _PATIENCE_S) -> bool:
        return True

    def stranger(self, since_s: float, within_s: float = 0.0) -> int | None:
        return None

    def read(self) -> Reading:
        return UNKNOWN

    def make_way(self) -> None:
        return

    def step_in(self) -> None:
        return


class GpuConditions:
    """The current GPU of this process. It must be idle when this is made: later looks are compared with that one."""

    stay_awake = True

    def __init__(self, telemetry: Telemetry, wakeful: Wakeful) -> None:
        self._telemetry = telemetry
        self._wakeful = wakeful
        l2_bytes = max(torch.cuda.get_device_properties(0).L2_cache_size, 1 << 20)
        self._sweep = torch.zeros(_OF_L2 * l2_bytes // 8, dtype=torch.int64, device="cuda")
        self._swept = torch.zeros((), dtype=torch.int64, device="cuda")
        self._words = torch.zeros(_PROBE_WORDS, device="cuda")
        self._probe = torch.cuda.CUDAGraph()
        self._words.add_(0)
        torch.cuda.synchronize()
        with torch.cuda.graph(self._probe):
            for _ in range(_PROBE_KERNELS):
                self._words.add_(0)
        self._idle_s = statistics.median(self._probed() for _ in range(_PROBES_TO_LEARN))

    def _probed(self) -> float:
        start = time.perf_counter()
        self._probe.replay()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    def cool(self) -> None:
        driver.forget_persisting_lines()
        torch.amax(self._sweep, dim=0, out=self._swept)
        torch.cuda.synchronize()

    def is_idle(self, patience_s: float = _PATIENCE_S) -> bool:
        limit_s = max(_BUSY_FACTOR * self._idle_s, self._idle_s + _BUSY_MARGIN_S)
        deadline = time.monotonic() + patience_s
        while True:
            if self._look_idle(limit_s):
                return True
            if time.monotonic() > deadline:
                return False

    def _look_idle(self, limit_s: float) -> bool:
        """Whether most of a few probes are short; no more of them than it takes to know."""
        short = long = 0
        while max(short, long) <= _PROBES_TO_TELL // 2:
            is_short = self._probed() <= limit_s
            short, long = short + is_short, long + (not is_short)
        return short > long

    def stranger(self, since_s: float, within_s: float = 0.0) -> int | None:
        return strangers.at_work(self._telemetry, since_s, within_s)

    def read(self) -> Reading:
        clocks, limits = self._telemetry.clocks(), self._telemetry.clock_limits()
        return Reading(**clocks, slowed=limits.slowed, capped=limits.capped)

    def make_way(self) -> None:
        self._wakeful.make_way()

    def step_in(self) -> None:
        self._wakeful.step_in()


class LeftRunning(CellFailed):
    """A frozen cell's work went on, whoever's turn it was."""


@dataclass(frozen=True)
class Surroundings:
    """What a timed round happens in: the device, and the cells that may have left work on it. All cells are frozen,
    except the one in its turn."""

    conditions: Conditions
    suspects: list[Cell]

    def require_idle(self) -> None:
        """All cells must be frozen. If the device is busy nevertheless, and nobody else is at work on it, the suspects
        are killed in turn. The one with whom the work ends had left it there.

        Raises `LeftRunning` for that one, and `DeviceError` when it is none of them.
        """
        if self.conditions.is_idle():
            return
        if (pid := self.conditions.stranger(time.time() - _LOOK_BACK_S, strangers.SAMPLES_WITHIN_S)) is not None:
            message = f"process {pid}, which is not evald's, keeps the GPU busy: nothing can be timed beside it"
            raise DeviceError(message, hint=f"ps -fp {pid}; end it, or leave this GPU to it: --gpu, gpus")
        for cell in self.suspects:
            cell.kill()
            if self.conditions.is_idle(_AFTER_A_KILL_S):
                message = "what it had launched was still running on the GPU after it had said it was done"
                failure = Failure(phase=Phase.MEASURE, side=cell.side, message=message)
                raise LeftRunning(Verdict.INTEGRITY_VIOLATION, failure)
        raise DeviceError("something that is not evald's keeps the GPU busy", hint="nvidia-smi")
