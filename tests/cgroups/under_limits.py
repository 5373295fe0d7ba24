"""What the groups of evald do in the one tree of cgroup v2, said as JSON on stdout. Runs in a guest, as root."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon.executor.sandbox import cgroup, owner
from daemon.executor.sandbox.cell_group import CellGroup
from daemon.executor.sandbox.cgroup import Cgroups
from daemon.executor.sandbox.policy import CellLimits

MIB = 1 << 20
MEMORY_BYTES, PROCESSES = 32 * MIB, 8
LIMITS = CellLimits(
    memory_bytes=MEMORY_BYTES, processes=PROCESSES, open_files=64, file_bytes=MIB, tmp_bytes=MIB, tmp_inodes=10
)


def member(group: CellGroup, work: Callable[[], None]) -> int:
    """A child that does `work` once it is in the group."""
    gate, opener = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(gate, 1)
            work()
        finally:
            os._exit(0)
    group.add(pid)
    os.write(opener, b"!")
    os.close(gate)
    os.close(opener)
    return pid


def ended_by(pid: int) -> int:
    """The signal that a child was killed by, 0 for none."""
    status = os.waitpid(pid, 0)[1]
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def hoard() -> None:
    assert bytearray(4 * MEMORY_BYTES)


def breed() -> None:
    """As many processes as there can be, which end with this one's reading end."""
    gate, opener = os.pipe()
    with suppress(BlockingIOError):
        for _ in range(4 * PROCESSES):
            if os.fork() == 0:
                os.close(opener)
                os.read(gate, 1)
                os._exit(0)


def count(file: Path) -> None:
    for number in range(1_000_000):
        file.write_text(str(number))
        time.sleep(0.001)


def counted(file: Path) -> int:
    with suppress(OSError, ValueError):
        return int(file.read_text())
    return -1


def goes_on(file: Path, within_s: float) -> bool:
    """Whether it counts on: at once if it does, and after `within_s` if not."""
    before, deadline_s = counted(file), time.monotonic() + within_s
    while counted(file) in (before, -1) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    return counted(file) not in (before, -1)


def limited(groups: Cgroups) -> dict[str, Any]:
    group = groups.create(0, LIMITS)
    seen: dict[str, Any] = {"oom before": group.oom_killed(), "refused before": group.processes_refused()}
    seen["hoarder ended by"] = ended_by(member(group, hoard))
    seen |= {"oom": group.oom_killed(), "to blame": group.wanted_too_much()}
    ended_by(member(group, breed))
    seen["refused"] = group.processes_refused() > 0
    group.remove()
    return seen


def stopped(groups: Cgroups, scratch: Path) -> dict[str, Any]:
    group = groups.create(1, LIMITS)
    file = scratch / "count"
    pid = member(group, lambda: count(file))
    while counted(file) < 0:
        time.sleep(0.01)
    seen: dict[str, Any] = {"frozen": group.freeze(), "counts while frozen": goes_on(file, 0.5)}
    group.thaw()
    seen["counts after"] = goes_on(file, 60.0)
    os.kill(pid, signal.SIGKILL)
    ended_by(pid)
    group.remove()
    return seen


def there(groups: Cgroups) -> list[Path]:
    return [path for path in groups.bases["freezer"].iterdir() if path.is_dir()]


def shared(groups: Cgroups) -> dict[str, Any]:
    group = groups.create(2, replace(LIMITS, cpu_cores=0.5, background=True))
    (folder,) = there(groups)
    seen = {name: (folder / name).read_text().strip() for name in ("cpu.max", "cpu.weight", "memory.max", "pids.max")}
    group.remove()
    return seen


def swept(groups: Cgroups) -> dict[str, Any]:
    """A judge of which nothing is left but a frozen cell."""
    said, say = os.pipe()
    judge = os.fork()
    if judge == 0:
        group = groups.create(3, LIMITS)
        cell = member(group, signal.pause)
        group.freeze()
        os.write(say, str(cell).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    cell = int(os.read(said, 20))
    ended_by(judge)
    before = len(there(groups))
    groups.sweep()
    fields = owner.stat_of(cell)
    is_gone = fields is None or fields[0] == "Z"
    return {"groups before": before, "groups after": len(there(groups)), "its cell is gone": is_gone}


def main() -> int:
    groups = cgroup.find()
    if groups is None:
        print(json.dumps({"version": None}))
        return 0
    seen = {"version": groups.version, "missing": groups.missing}
    seen |= {"limited": limited(groups), "stopped": stopped(groups, Path(sys.argv[1])), "shared": shared(groups)}
    print(json.dumps(seen | {"swept": swept(groups)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
