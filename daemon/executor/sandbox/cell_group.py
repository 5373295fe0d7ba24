"""The cgroup of one cell: its limits, its freezer, and what the kernel counted of it."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from daemon.executor.sandbox.owner import GONE
from daemon.executor.sandbox.policy import CellLimits

ROOT = Path("/sys/fs/cgroup")
_PERIOD_US = 100_000
_LEAST_SHARES = 2
FREEZE_LIMIT_S = 2.0
_REMOVE_LIMIT_S = 2.0
_FREEZE_SOON_S, _FREEZE_POLL_S = 2e-4, 5e-5
_FREEZE_POLLS_BY_THEN = 8  # a wait that has been long may be a bit longer
_STATE_BYTES = 1 << 12
_AT_THE_LIMIT = 0.95
_EXITING = 0x4  # among the flags of a thread (linux/sched.h)


class CellGroup(Protocol):
    """The cgroup of one cell."""

    def add(self, pid: int) -> None:
        """Make `pid`, and all it starts from now on, a member."""

    def freeze(self) -> bool:
        """Stop every member; True when they are provably stopped, False when this host cannot."""

    def thaw(self) -> None:
        """Let them run again."""

    def memory_bytes(self) -> int | None:
        """What its members have now, including files in memory, but not what caches hold of the host's files. None
        where nobody counts it."""

    def oom_killed(self) -> bool:
        """Whether the kernel killed a member for want of memory: the group's own, or the host's."""

    def wanted_too_much(self) -> bool:
        """Whether a group of which a member was killed for want of memory is to blame for that itself."""

    def processes_refused(self) -> int:
        """How often a member was refused a new process or thread because of the group's limit."""

    def remove(self) -> None:
        """Delete the group. Its members must be gone."""


class _Freezer:
    """The files that stop a group and tell when it stands, opened once: a round asks them several times, and opening
    costs more than asking. `stop` and `go` are written into `switch`; `stopped` is what `state` then says."""

    def __init__(self, switch: Path, state: Path, *, stop: bytes, go: bytes, stopped: bytes) -> None:
        self._files = (switch, state)
        self._words = (stop, go, stopped)
        self._fds: tuple[int, int] | None = None

    def _opened(self) -> tuple[int, int]:
        if self._fds is None:
            switch = os.open(self._files[0], os.O_WRONLY | os.O_CLOEXEC)
            try:
                self._fds = switch, os.open(self._files[1], os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                os.close(switch)
                raise
        return self._fds

    def freeze(self) -> bool:
        """True when every member stands, False when that takes too long. Members stop where they next run: one that
        does not soon is waiting for a processor, and asking on and on would keep it from it."""
        switch, state = self._opened()
        stop, _, stopped = self._words
        os.pwrite(switch, stop, 0)
        start, waited_s = time.monotonic(), 0.0
        while stopped not in os.pread(state, _STATE_BYTES, 0):
            if waited_s > FREEZE_LIMIT_S:  # before that look: it may be us who stood still for so long
                return False
            if waited_s > _FREEZE_SOON_S:
                time.sleep(max(waited_s / _FREEZE_POLLS_BY_THEN, _FREEZE_POLL_S))
            waited_s = time.monotonic() - start
        return True

    def thaw(self) -> None:
        os.pwrite(self._opened()[0], self._words[1], 0)

    def close(self) -> None:
        for fd in self._fds or ():
            os.close(fd)
        self._fds = None


def remove_empty(folder: Path) -> None:
    """A group whose last member is being reaped is busy for a moment."""
    deadline = time.monotonic() + _REMOVE_LIMIT_S
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.005)
        else:
            return


def is_too_much(peak_bytes: int, limit_bytes: int, around_bytes: int) -> bool:
    """Whether a group that had so much is to blame for it that memory ran out: it was at its limit, or had half of what
    there is around it."""
    return peak_bytes >= min(_AT_THE_LIMIT * limit_bytes, around_bytes / 2)


def memory_around(folder: Path, limit: str) -> int:
    """How many bytes a group could have at most without a limit of its own: the memory of the host, of a container or
    of a service. `limit`: the name of the file."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for parent in folder.parents:
        with suppress(OSError, ValueError):  # a root has no such file, and some say "max"
            found.append(_number(parent / limit))
        if parent == ROOT:
            break
    return min(found)


def _list(processors: tuple[int, ...]) -> str:
    return ",".join(map(str, processors))


def _number(path: Path) -> int:
    return int(path.read_text("ascii"))


def _is_going(thread: str) -> bool:
    """Whether a thread of a group that is said to stand runs, or has been killed and is still giving back what it has.
    Raises `OSError` where that cannot be seen, say for want of descriptors: then it may be so."""
    try:
        state, *rest = Path("/proc", thread, "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except GONE:
        return False
    return state == "R" or (state not in "ZX" and bool(int(rest[5]) & _EXITING))


def _counter(path: Path, key: str) -> int:
    for line in path.read_text("ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


def _counters(path: Path, keys: tuple[str, ...]) -> int | None:
    """The sum of these; None where they cannot be read."""
    try:
        return sum(_counter(path, key) for key in keys)
    except OSError:
        return None


class V2Group:
    """`CellGroup` where the kernel has one tree of groups."""

    def __init__(self, bases: dict[str, Path], name: str, limits: CellLimits) -> None:
        self._folder = next(iter(bases.values())) / name
        self._bases = bases
        self._memory_bytes = limits.memory_bytes
        self._folder.mkdir()
        switch, events = self._folder / "cgroup.freeze", self._folder / "cgroup.events"
        self._freezer = _Freezer(switch, events, stop=b"1", go=b"0", stopped=b"frozen 1")
        if "memory" in bases:
            (self._folder / "memory.max").write_text(str(limits.memory_bytes), "ascii")
            swap = self._folder / "memory.swap.max"
            if swap.exists():
                swap.write_text("0", "ascii")
        if "pids" in bases:
            (self._folder / "pids.max").write_text(str(limits.processes), "ascii")
        if "cpu" in bases and limits.background:
            (self._folder / "cpu.weight").write_text("1", "ascii")
        if "cpu" in bases and limits.cpu_cores:
            (self._folder / "cpu.max").write_text(f"{int(limits.cpu_cores * _PERIOD_US)} {_PERIOD_US}", "ascii")
        if "cpuset" in bases and limits.processors:
            with suppress(OSError):
                (self._folder / "cpuset.cpus").write_text(_list(limits.processors), "ascii")

    def add(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid), "ascii")

    def freeze(self) -> bool:
        return self._freezer.freeze()

    def thaw(self) -> None:
        self._freezer.thaw()

    def memory_bytes(self) -> int | None:
        return _counters(self._folder / "memory.stat", ("anon", "shmem")) if "memory" in self._bases else None

    def oom_killed(self) -> bool:
        return "memory" in self._bases and _counter(self._folder / "memory.events", "oom_kill") > 0

    def wanted_too_much(self) -> bool:
        peak = self._folder / "memory.peak"
        if _counter(self._folder / "memory.events", "oom") or not peak.exists():  # it came with Linux 5.19
            return True
        return is_too_much(_number(peak), self._memory_bytes, memory_around(self._folder, "memory.max"))

    def processes_refused(self) -> int:
        return _counter(self._folder / "pids.events", "max") if "pids" in self._bases else 0

    def remove(self) -> None:
        self._freezer.close()
        remove_empty(self._folder)


class V1Group:
    """`CellGroup` where every controller has a tree of its own."""

    def __init__(self, bases: dict[str, Path], name: str, limits: CellLimits) -> None:
        self._folders = {controller: base / name for controller, base in bases.items() if controller != "cpuset"}
        self._memory_bytes = limits.memory_bytes
        for folder in self._folders.values():
            folder.mkdir()
        self._killed = 0  # for want of memory, and gone since
        self._freezer: _Freezer | None = None
        if freezer := self._folders.get("freezer"):
            state = freezer / "freezer.state"
            self._freezer = _Freezer(state, state, stop=b"FROZEN", go=b"THAWED", stopped=b"FROZEN")
        if memory := self._folders.get("memory"):
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes), "ascii")
            with_swap = memory / "memory.memsw.limit_in_bytes"
            if with_swap.exists():
                with_swap.write_text(str(limits.memory_bytes), "ascii")
        if pids := self._folders.get("pids"):
            (pids / "pids.max").write_text(str(limits.processes), "ascii")
        if (cpu := self._folders.get("cpu")) and limits.background:
            (cpu / "cpu.shares").write_text(str(_LEAST_SHARES), "ascii")
        if (cpu := self._folders.get("cpu")) and limits.cpu_cores:
            (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD_US), "ascii")
            (cpu / "cpu.cfs_quota_us").write_text(str(int(limits.cpu_cores * _PERIOD_US)), "ascii")
        if "cpuset" in bases and limits.processors:
            self._keep_to(bases["cpuset"] / name, limits.processors)

    def _keep_to(self, folder: Path, processors: tuple[int, ...]) -> None:
        """Let members use these processors alone. Where that cannot be had, there is no such group. A process that
        joins it is on all of these first, whatever it was kept to before."""
        try:
            folder.mkdir()
            # Else the scheduler would look at all of the host's processors anew for each group.
            (folder / "cpuset.sched_load_balance").write_text("0", "ascii")
            (folder / "cpuset.mems").write_text((folder.parent / "cpuset.mems").read_text("ascii"), "ascii")
            (folder / "cpuset.cpus").write_text(_list(processors), "ascii")
        except OSError:
            with suppress(OSError):
                folder.rmdir()
        else:
            self._folders["cpuset"] = folder

    def add(self, pid: int) -> None:
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid), "ascii")

    def freeze(self) -> bool:
        return self._freezer is not None and self._freezer.freeze() and self._has_buried_its_dead()

    def _has_buried_its_dead(self) -> bool:
        """Wait until members that were killed for want of memory are gone. A group counts as frozen although such a
        member runs (freezing_slow_path in kernel/freezer.c): it gives back gigabytes, beside whoever is timed. False
        where that takes too long."""
        killed = self._oom_kills()
        deadline = time.monotonic() + FREEZE_LIMIT_S
        while killed != self._killed and any(map(_is_going, self._members())):
            if time.monotonic() > deadline:
                return False
            time.sleep(_FREEZE_SOON_S)
        self._killed = killed
        return True

    def _members(self) -> list[str]:
        return (self._folders["freezer"] / "tasks").read_text("ascii").split()

    def thaw(self) -> None:
        if self._freezer is not None:
            self._freezer.thaw()

    def memory_bytes(self) -> int | None:
        folder = self._folders.get("memory")
        return None if folder is None else _counters(folder / "memory.stat", ("rss", "shmem"))

    def oom_killed(self) -> bool:
        return self._oom_kills() > 0

    def _oom_kills(self) -> int:
        folder = self._folders.get("memory")
        return 0 if folder is None else _counter(folder / "memory.oom_control", "oom_kill")

    def wanted_too_much(self) -> bool:
        folder = self._folders["memory"]
        around_bytes = memory_around(folder, "memory.limit_in_bytes")
        return is_too_much(_number(folder / "memory.max_usage_in_bytes"), self._memory_bytes, around_bytes)

    def processes_refused(self) -> int:
        folder = self._folders.get("pids")
        return _counter(folder / "pids.events", "max") if folder else 0

    def remove(self) -> None:
        if self._freezer is not None:
            self._freezer.close()
        for folder in self._folders.values():
            remove_empty(folder)
