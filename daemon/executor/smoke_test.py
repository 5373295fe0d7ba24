"""Starting one real cell and ending it again: what `evald doctor` asks before any bundle is there. No torch."""

from __future__ import annotations

import time
from dataclasses import dataclass

from daemon.config import Settings
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host import limits
from daemon.executor.host.devices import Device
from daemon.executor.host.reservation import Reservation
from daemon.executor.sandbox import cgroup
from daemon.executor.sandbox.cgroup import Cgroups
from daemon.executor.sandbox.policy import UidStep
from daemon.executor.sandbox.probe import Isolation, assess
from daemon.verdict import Side

_PATIENCE_S = 60.0


@dataclass(frozen=True)
class StartedCell:
    """How cells are held here, what is weaker than it should be, what a cell reported, and how long it took to
    start."""

    level: str
    weaker: tuple[str, ...]
    versions: dict[str, str | None]
    start_s: float


def try_cell(settings: Settings, device: Device) -> StartedCell:
    """Start a cell for `device` as the judge would and wait for its greeting: on a GPU it has used the device by then.

    Raises `OperatorError` when a sandbox is wanted and cannot be had, or the shell gives too little memory,
    `HarnessError` when the cell does not come up, or another evald does not give up the device for a minute.
    """
    limits.require_memory()
    groups = cgroup.find() if settings.isolation != "none" else None
    isolation = assess(settings.isolation, groups, gpu=device.is_gpu)
    reservation = Reservation.of(device)
    reservation.acquire(lambda _: None, _PATIENCE_S)
    try:
        return _tried(settings, device, groups, isolation)
    finally:
        reservation.release()


def _tried(settings: Settings, device: Device, groups: Cgroups | None, isolation: Isolation) -> StartedCell:
    start = time.monotonic()
    cell_settings = CellSettings.of(settings, device, uid_step=UidStep.BUILDER, slot=device.index, threads=1)
    zygotes = Zygotes()
    try:
        cell = Cells(cell_settings, groups, zygotes).start(Side.CANDIDATE)
        try:
            cell.greet()
            return StartedCell(isolation.level, isolation.weaker, cell.versions, time.monotonic() - start)
        finally:
            cell.kill()
    finally:
        zygotes.close()
