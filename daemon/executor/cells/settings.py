"""What every cell of one judge has in common, as the settings say it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from daemon.config import Settings
from daemon.executor.host.devices import Device
from daemon.executor.sandbox.policy import UID_COUNT, CellLimits

# Where neither distributions, systemd (services with DynamicUser: 61184 to 65519), containers nor directories of users
# have theirs; and where a user namespace has the first 65536 alone.
_UID_BASE, _LOW_UID_BASE = 2_100_000_000, 61_000


@dataclass(frozen=True)
class CellSettings:
    """What every cell of one judge has in common."""

    isolation: str
    limits: CellLimits
    uid_base: int
    uid_step: int
    slot: int
    threads: int
    device: Device
    sees_device: bool
    backend_paths: tuple[Path, ...]
    output_keep_bytes: int
    start_s: float
    shelf: Path | None = None  # of precompiled headers, for cells that build
    jobs: int | None = None  # compilers at a time; None: as many as threads
    as_reference: bool = False  # it is asked for more than calls: inputs, and answers in float64

    @classmethod
    def of(
        cls, settings: Settings, device: Device, *, uid_step: int, slot: int, threads: int, sees_device: bool = True
    ) -> CellSettings:
        """What `settings` say about cells; `uid_step` keeps the cells of one slot apart. Without `sees_device` they
        build for `device` and cannot use it."""
        sandbox = settings.sandbox
        limits = CellLimits(
            memory_bytes=sandbox.gpu_memory_bytes if device.is_gpu else sandbox.memory_bytes,
            processes=sandbox.processes,
            open_files=sandbox.open_files,
            file_bytes=sandbox.file_bytes,
            tmp_bytes=sandbox.tmp_bytes,
            tmp_inodes=sandbox.tmp_inodes,
            cpu_cores=sandbox.cpu_cores,
        )
        return cls(
            isolation=settings.isolation,
            limits=limits,
            uid_base=first_uid(sandbox.uid_base),
            uid_step=uid_step,
            slot=slot,
            threads=threads,
            device=device,
            sees_device=sees_device,
            backend_paths=settings.backend_paths,
            output_keep_bytes=sandbox.output_keep_bytes,
            start_s=settings.deadlines.start_s,
        )


def first_uid(chosen: int | None, uid_map: Path = Path("/proc/self/uid_map")) -> int:
    """The first uid of this host's cells: the `chosen` one, else one that this process's user namespace has (`uid_map`,
    see user_namespaces(7))."""
    if chosen is not None:
        return chosen
    ranges = [(int(start), int(count)) for start, _, count in map(str.split, uid_map.read_text("ascii").splitlines())]
    is_mapped = any(start <= _UID_BASE and start + count >= _UID_BASE + UID_COUNT for start, count in ranges)
    return _UID_BASE if is_mapped else _LOW_UID_BASE


def pool_threads(settings: Settings) -> int:
    """Threads of a cell's pool: one core fewer than there are, unless the settings say otherwise.

    A pool as wide as the machine waits, at every parallel region, for the one thread that shares its core with the
    judge or with anything else: on two busy cores a copy of 1 MB took 6 ms with two threads and 0.15 ms with one.
    """
    available = len(os.sched_getaffinity(0))
    wanted = settings.sandbox.cpu_cores
    return max(1, min(available, int(wanted)) if wanted else available - 1)
