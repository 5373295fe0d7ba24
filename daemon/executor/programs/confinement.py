"""What the cells of one judge are confined by, and forked from.

Theory of operation: the zygote imports torch, and so does the judge, which takes each of them seconds. So this module
imports none of it. A judge makes its confinement first, has the zygote begin, and imports the rest of itself meanwhile.
"""

from __future__ import annotations

from dataclasses import replace

from daemon.config import Settings
from daemon.executor.cells.settings import CellSettings, pool_threads
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host.devices import Device
from daemon.executor.sandbox import cgroup
from daemon.executor.sandbox.policy import UidStep
from daemon.executor.sandbox.probe import Isolation, assess
from daemon.executor.timing.cores import cores_here, of_cells

_DYING_S = 60.0  # half of what a judge may take to start


class Confinement:
    """Of the cells for `device`, in the device slot `slot` of `slots`. Raises `OperatorError` where this host cannot
    confine."""

    def __init__(self, settings: Settings, slot: int, device: Device, *, slots: int = 1) -> None:
        self.settings = settings
        self.slot = slot
        self._processors = tuple(sorted(of_cells(slot, slots, cores_here()))) if device.is_gpu else ()
        self.device = device
        self.groups = cgroup.find() if settings.isolation != "none" else None
        if self.groups is not None:
            self.groups.sweep(_DYING_S)  # beside whose processors nothing should be timed
        self.isolation: Isolation = assess(settings.isolation, self.groups, gpu=device.is_gpu)
        self._zygotes = Zygotes()

    def begin(self) -> None:
        """Have zygotes import what cells need, without waiting for them: the zygote of cells that run kernels, and, on
        a GPU for which no builder compiles, that of cells that build. Raises `HarnessError`."""
        self.cells(UidStep.NULL).begin()
        if self.device.is_gpu and self.settings.ahead == 0:
            self.cells(UidStep.BUILD, sees_device=False).begin()

    def cells(self, uid_step: UidStep, *, sees_device: bool = True) -> Cells:
        """Where cells of one kind are had from. Without `sees_device` they build."""
        cell_settings = CellSettings.of(
            self.settings,
            self.device,
            uid_step=uid_step,
            slot=self.slot,
            threads=1 if self.device.is_gpu and sees_device else pool_threads(self.settings),
            sees_device=sees_device,
        )
        limits = replace(cell_settings.limits, processors=self._processors)
        return Cells(replace(cell_settings, limits=limits), self.groups, self._zygotes)
