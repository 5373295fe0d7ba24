"""What the judge lends to every case."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from daemon.config import Settings
from daemon.contract import TimingMode
from daemon.executor.artifacts.builds import Builds
from daemon.executor.artifacts.bundle import Request
from daemon.executor.catalog import BackendSpec
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.spares import CellSource
from daemon.executor.host.devices import Device
from daemon.executor.timing.conditions import Conditions
from daemon.executor.timing.cores import Lane
from daemon.executor.timing.sizing import MeasureRules
from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.toolbox import Toolbox
from daemon.verdict import Side

_SHARE_OF_DEVICE = 12  # of the GPU's memory for each side; the judge needs as much again to compare it with


@dataclass(frozen=True)
class Bench:
    """What the judge lends to a case: cells to start, the null candidate, the compile stage, the settings, the kernel
    types, the device and its conditions, NVIDIA's tools, and what the device can do at most (measured when somebody
    asks).

    - `refill` has cells started for the next case, without waiting for them.
    - As long as `still` lasts, nothing but the case's own cells is at work.
    - `lane`: the cores where timed rounds run.
    - `later` takes what a case need not wait for (None where nothing takes long enough for it).
    - `finish` does what the case before has left.
    """

    settings: Settings
    cells: Mapping[Side, CellSource]
    builds: Builds
    null: Callable[[], Cell]
    backends: Mapping[str, BackendSpec]
    device: Device
    conditions: Conditions
    tools: Toolbox
    ceilings: Callable[[], Ceilings | None]
    refill: Callable[[], None]
    still: Callable[[], AbstractContextManager[None]]
    finish: Callable[[], None]
    later: Callable[[Callable[[], None]], None] | None
    lane: Lane | None

    @property
    def tensor_bytes(self) -> int:
        """The most that the tensors of one kernel may take here: what the settings say; on a GPU at least a third of
        its memory."""
        return max(self.settings.limits.tensor_bytes, self.device.memory_bytes // 3)

    def rules(self, request: Request) -> MeasureRules:
        """What the contract asks of the measurement, and the settings where it asks nothing."""
        defaults, wanted = self.settings.timing, request.timing
        return MeasureRules(
            max_s=wanted.max_s or defaults.max_s,
            target_rse=wanted.target_rse or defaults.target_rse,
            min_rounds=defaults.min_rounds,
            min_calls=request.num_trials,
            max_calls=defaults.max_calls,
            arena_bytes=self._arena_bytes(),
            graph=self.device.is_gpu and wanted.mode is not TimingMode.STREAM,
            in_pairs=self.device.is_gpu,
        )

    def _arena_bytes(self) -> int:
        defaults = self.settings.timing
        if not self.device.is_gpu:
            return defaults.arena_bytes
        return min(defaults.gpu_arena_bytes, self.device.memory_bytes // _SHARE_OF_DEVICE)
