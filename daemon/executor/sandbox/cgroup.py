"""Limits for a whole cell: cgroup v2 where we may write it, v1 where that is mounted, and an honest None otherwise.

Theory of operation: each cell gets its own group below the daemon's. The sandbox waits at its gate until its first
process is a member, so nothing it ever starts is outside. Memory and process limits are the kernel's; `oom_killed`
tells a memory kill from any other SIGKILL. Removing the group needs it empty: the caller has killed pid 1 of the pid
namespace and waited before that.

A judge that is killed leaves its cells frozen, and a member of a frozen v1 group does not die of a SIGKILL until it
is thawed. So every group carries the tag of the judge that made it (`owner`), and `sweep` thaws, kills and removes
the groups of dead judges: the engine calls it whenever it has killed a judge, a judge when it starts.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daemon.executor import owner
from daemon.executor.sandbox.policy import CellLimits

_ROOT = Path("/sys/fs/cgroup")
_GROUP = "evald"
_LEAF = f"{_GROUP}-main"
_MOVES = 20
_V1_CONTROLLERS = ("memory", "pids", "freezer", "cpu")
_PERIOD_US = 100_000
_LEAST_SHARES = 2
_FREEZE_LIMIT_S = 2.0
_FREEZE_SOON_S, _FREEZE_POLL_S = 2e-4, 5e-5
_STATE_BYTES = 1 << 12
_AT_THE_LIMIT = 0.95


class CellGroup(Protocol):
    """The cgroup of one cell."""

    def add(self, pid: int) -> None:
        """Make `pid`, and all it starts from now on, a member."""

    def freeze(self) -> bool:
        """Stop every member; True when they are provably stopped, False when this host cannot."""

    def thaw(self) -> None:
        """Let them run again."""

    def oom_killed(self) -> bool:
        """Whether the kernel killed a member for want of memory: the group's own, or the host's."""

    def wanted_too_much(self) -> bool:
        """Of one of which a member was: whether it is to blame for that itself."""

    def processes_refused(self) -> int:
        """How often a member was refused a new process or thread because of the group's limit."""

    def remove(self) -> None:
        """Delete the group. Its members must be gone."""


@dataclass(frozen=True)
class Cgroups:
    """What this host lets us limit."""

    version: int
    bases: dict[str, Path]

    @property
    def missing(self) -> tuple[str, ...]:
        """Controllers that are not enforced here."""
        return tuple(name for name in ("memory", "pids", "cpu") if name not in self.bases)

    def create(self, number: int, limits: CellLimits) -> CellGroup:
        """Make this process's group `number` with `limits`. Raises `OSError` when the kernel refuses."""
        name = f"{owner.tag()}-{number}"
        kind = _V1Group if self.version == 1 else _V2Group
        return kind(self.bases, name, limits)

    def sweep(self) -> None:
        """Kill and remove what dead judges left behind. Groups of living ones are not touched."""
        for base in sorted(set(self.bases.values())):
            for folder in base.iterdir():
                if folder.is_dir() and owner.is_dead(folder.name.rpartition("-")[0]):
                    _destroy(folder)


def existing() -> Cgroups | None:
    """The cgroups a judge of ours has made, without making any; None where there are none."""
    memberships = _own_memberships()
    if (base := _v2_base(memberships)) is not None and base.is_dir():
        return Cgroups(2, {"freezer": base})
    bases = {name: _v1_base(name, memberships) for name in _V1_CONTROLLERS if name in memberships}
    found = {name: base for name, base in bases.items() if base.is_dir()}
    return Cgroups(1, found) if found else None


def _destroy(folder: Path) -> None:
    """Thaw and kill every member, then remove the group, under every controller it exists for."""
    deadline = time.monotonic() + _FREEZE_LIMIT_S
    folders = {folder}
    while pids := _members(folder):
        for pid in pids:
            folders |= _groups_of(pid, folder.name)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in folders:
            _thaw(group)
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)
    for group in folders:
        with suppress(OSError):
            remove_empty(group)


def _members(folder: Path) -> list[int]:
    try:
        return [int(word) for word in _words(folder / "cgroup.procs")]
    except OSError:
        return []


def _groups_of(pid: int, name: str) -> set[Path]:
    """Every group called `name` that `pid` is in: v1 has one per controller."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text("ascii").splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        _, controller, path = line.split(":", 2)
        if path.endswith(f"/{name}"):
            found.add(_ROOT / controller / path.lstrip("/"))
    return found


def _thaw(folder: Path) -> None:
    for name, word in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
        if (folder / name).exists():
            with suppress(OSError):
                (folder / name).write_text(word, "ascii")


def find() -> Cgroups | None:
    """The cgroups we may use, or None. Tries by doing: makes and removes a group."""
    memberships = _own_memberships()
    return _find_v2(memberships) or _find_v1(memberships)


def _own_memberships() -> dict[str, str]:
    """Controller name ("" for v2) to the path of our own group."""
    memberships: dict[str, str] = {}
    for line in Path("/proc/self/cgroup").read_text("ascii").splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            memberships[controller] = path
    return memberships


def _find_v2(memberships: dict[str, str]) -> Cgroups | None:
    base = _v2_base(memberships)
    if base is None:
        return None
    top = base.parent
    try:
        base.mkdir(exist_ok=True)
        _leave_inner_node(top)
        wanted = [name for name in ("memory", "pids", "cpu") if name in _words(top / "cgroup.controllers")]
        for node in (top, base):
            for name in wanted:
                (node / "cgroup.subtree_control").write_text(f"+{name}", "ascii")
    except OSError:
        return None
    enabled = _words(base / "cgroup.subtree_control")
    return Cgroups(2, {name: base for name in (*enabled, "freezer")})


def _v2_base(memberships: dict[str, str]) -> Path | None:
    """Where cells go. A process that was already moved to the leaf counts from the group above it."""
    if "" not in memberships or not (_ROOT / "cgroup.controllers").exists():
        return None
    own = _ROOT / memberships[""].lstrip("/")
    return (own.parent if own.name == _LEAF else own) / f"{_GROUP}-cells"


def _leave_inner_node(top: Path) -> None:
    """v2 allows controllers only below a group without processes: move ourselves (and siblings in it) to a leaf."""
    if top == _ROOT:
        return
    leaf = top / _LEAF
    leaf.mkdir(exist_ok=True)
    for _ in range(_MOVES):  # processes come and go meanwhile
        if not (pids := _words(top / "cgroup.procs")):
            return
        for pid in pids:
            with suppress(ProcessLookupError):
                (leaf / "cgroup.procs").write_text(pid, "ascii")


def _find_v1(memberships: dict[str, str]) -> Cgroups | None:
    bases: dict[str, Path] = {}
    for controller in _V1_CONTROLLERS:
        if controller not in memberships:
            continue
        base = _v1_base(controller, memberships)
        try:
            base.mkdir(exist_ok=True)
            probe = base / f"probe-{os.getpid()}"
            probe.mkdir()
            probe.rmdir()
        except OSError:
            continue
        bases[controller] = base
    return Cgroups(1, bases) if bases else None


def _v1_base(controller: str, memberships: dict[str, str]) -> Path:
    return _ROOT / controller / memberships[controller].lstrip("/") / f"{_GROUP}-cells"


def _words(path: Path) -> list[str]:
    return path.read_text("ascii").split()


class _Freezer:
    """The files that stop a group and tell when it stands, opened once: a round asks them several times, and opening
    costs more than asking. `stop` and `go` are written into `switch`, `stopped` is then read from `state`."""

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
        start = time.monotonic()
        while stopped not in os.pread(state, _STATE_BYTES, 0):
            waited_s = time.monotonic() - start
            if waited_s > _FREEZE_LIMIT_S:
                return False
            if waited_s > _FREEZE_SOON_S:
                time.sleep(_FREEZE_POLL_S)
        return True

    def thaw(self) -> None:
        os.pwrite(self._opened()[0], self._words[1], 0)

    def close(self) -> None:
        for fd in self._fds or ():
            os.close(fd)
        self._fds = None


def remove_empty(folder: Path) -> None:
    """A group whose last member is being reaped is busy for a moment."""
    deadline = time.monotonic() + _FREEZE_LIMIT_S
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
    """Whether a group that had so much is to blame for it that memory ran out: at its limit, or with half of what there
    is around it."""
    return peak_bytes >= min(_AT_THE_LIMIT * limit_bytes, around_bytes / 2)


def _around(folder: Path, limit: str) -> int:
    """What a group could have at most without a limit of its own: the host's memory, or that of a container, a service.
    `limit`: the name of the file."""
    found = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    for parent in folder.parents:
        with suppress(OSError, ValueError):  # a root has no such file, and some say "max"
            found.append(_number(parent / limit))
        if parent == _ROOT:
            break
    return min(found)


def _number(path: Path) -> int:
    return int(path.read_text("ascii"))


def _counter(path: Path, key: str) -> int:
    for line in path.read_text("ascii").splitlines():
        name, _, value = line.partition(" ")
        if name == key:
            return int(value)
    return 0


class _V2Group:
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

    def add(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid), "ascii")

    def freeze(self) -> bool:
        return self._freezer.freeze()

    def thaw(self) -> None:
        self._freezer.thaw()

    def oom_killed(self) -> bool:
        return "memory" in self._bases and _counter(self._folder / "memory.events", "oom_kill") > 0

    def wanted_too_much(self) -> bool:
        peak = self._folder / "memory.peak"
        if _counter(self._folder / "memory.events", "oom") or not peak.exists():  # it came with Linux 5.19
            return True
        return is_too_much(_number(peak), self._memory_bytes, _around(self._folder, "memory.max"))

    def processes_refused(self) -> int:
        return _counter(self._folder / "pids.events", "max") if "pids" in self._bases else 0

    def remove(self) -> None:
        self._freezer.close()
        remove_empty(self._folder)


class _V1Group:
    def __init__(self, bases: dict[str, Path], name: str, limits: CellLimits) -> None:
        self._folders = {controller: base / name for controller, base in bases.items()}
        self._memory_bytes = limits.memory_bytes
        for folder in self._folders.values():
            folder.mkdir()
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

    def add(self, pid: int) -> None:
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid), "ascii")

    def freeze(self) -> bool:
        return self._freezer is not None and self._freezer.freeze()

    def thaw(self) -> None:
        if self._freezer is not None:
            self._freezer.thaw()

    def oom_killed(self) -> bool:
        folder = self._folders.get("memory")
        return folder is not None and _counter(folder / "memory.oom_control", "oom_kill") > 0

    def wanted_too_much(self) -> bool:
        folder = self._folders["memory"]
        around_bytes = _around(folder, "memory.limit_in_bytes")
        return is_too_much(_number(folder / "memory.max_usage_in_bytes"), self._memory_bytes, around_bytes)

    def processes_refused(self) -> int:
        folder = self._folders.get("pids")
        return _counter(folder / "pids.events", "max") if folder else 0

    def remove(self) -> None:
        if self._freezer is not None:
            self._freezer.close()
        for folder in self._folders.values():
            remove_empty(folder)
