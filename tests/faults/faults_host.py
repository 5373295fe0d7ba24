"""What a host shows of the cells that are, or were, on it."""

from __future__ import annotations

import os
from pathlib import Path

from executor_settings import cell_uid

from daemon.executor.sandbox import cgroup, owner
from daemon.executor.sandbox.policy import UIDS_PER_SLOT

SIDES = (0, 1000, 2000)  # candidate, reference, null candidate
SLOTS = 2


def processes_of(uid: int) -> list[int]:
    """Every process on this host that runs under `uid`."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and folder.stat().st_uid == uid:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def candidates(engine: int = 20) -> list[int]:
    """Processes of the candidate's and the reference's cells of an engine of this test process that have been given a
    bundle: spares stand ready and have none."""
    uids = [cell_uid(engine) + side + number for side in SIDES[:2] for number in range(SLOTS * UIDS_PER_SLOT)]
    return [pid for uid in uids for pid in processes_of(uid) if Path(f"/proc/{pid}/root/tmp/bundle").exists()]


def groups_of_the_dead() -> list[Path]:
    """Control groups whose judge is gone."""
    found = cgroup.existing()
    bases = found.bases.values() if found is not None else ()
    return [folder for base in bases for folder in base.iterdir() if owner.is_dead(folder.name.rpartition("-")[0])]


def shared_memory_bytes() -> int:
    """What tmpfs and shared memory hold on this whole host."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text("ascii").splitlines())
    return int(lines["Shmem"].split()[0]) * 1024


def can_be_root() -> bool:
    return os.geteuid() == 0
