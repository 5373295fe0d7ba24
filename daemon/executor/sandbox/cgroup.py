"""Limits for a whole cell: cgroup v2 where we may write it, v1 where that is mounted, and an honest None otherwise.

Theory of operation: each cell gets its own group below the daemon's. The sandbox waits at its gate until its first process is a
member, so nothing it ever starts is outside. Memory and process limits are the kernel's; `oom_killed` tells a memory kill from
any other SIGKILL. Removing the group needs it empty: the caller has killed pid 1 of the pid namespace and waited before that.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daemon.executor.sandbox.policy import CellLimits

_ROOT = Path("/sys/fs/cgroup")
_GROUP = "evald"
_V1_CONTROLLERS = ("memory", "pids", "freezer", "cpu")
_PERIOD_US = 100_000
_FREEZE_LIMIT_S = 2.0


class CellGroup(Protocol):
    """The cgroup of one cell."""

    def add(self, pid: int) -> None:
        """Make `pid`, and all it starts from now on, a member."""

    def freeze(self) -> bool:
        """Stop every member; True when they are provably stopped, False when this host cannot."""

    def thaw(self) -> None:
        """Let them run again."""

    def oom_killed(self) -> bool:
        """Whether the kernel killed a member for want of memory."""

    def peak_bytes(self) -> int | None:
        """The most memory the members held at once, where the kernel counts it."""

    def remove(self) -> None:
        """Delete the group. Its members must be gone."""


@dataclass(frozen=True)
class Cgroups:
    """What this host lets us limit. `create` is None-free: call it only when `available`."""

    version: int
    bases: dict[str, Path]

    @property
    def missing(self) -> tuple[str, ...]:
        """Controllers that are not enforced here."""
        return tuple(name for name in ("memory", "pids", "cpu") if name not in self.bases)

    def create(self, name: str, limits: CellLimits) -> CellGroup:
        """Make the group `name` with `limits`. Raises `OSError` when the kernel refuses."""
        return _V2Group(self.bases, name, limits) if self.version == 2 else _V1Group(self.bases, name, limits)  # noqa: PLR2004

    def sweep(self) -> None:
        """Remove empty groups that judges killed earlier left behind. Groups in use refuse to go."""
        for base in set(self.bases.values()):
            for folder in base.iterdir():
                if folder.is_dir():
                    with suppress(OSError):
                        folder.rmdir()


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
    if "" not in memberships or not (_ROOT / "cgroup.controllers").exists():
        return None
    own = _ROOT / memberships[""].lstrip("/")
    base = (own.parent if own.name == _GROUP else own) / f"{_GROUP}-cells"
    try:
        base.mkdir(exist_ok=True)
        _leave_inner_node(own, base)
        wanted = [name for name in ("memory", "pids", "cpu") if name in _words(own / "cgroup.controllers")]
        for node in (own, base):
            for name in wanted:
                (node / "cgroup.subtree_control").write_text(f"+{name}", "ascii")
    except OSError:
        return None
    enabled = _words(base / "cgroup.subtree_control")
    return Cgroups(2, {name: base for name in (*enabled, "freezer")})


def _leave_inner_node(own: Path, base: Path) -> None:
    """v2 allows controllers only below a group without processes: move ourselves (and siblings in it) to a leaf."""
    if own == _ROOT:
        return
    leaf = base.parent / f"{_GROUP}-main"
    leaf.mkdir(exist_ok=True)
    for pid in _words(own / "cgroup.procs"):
        (leaf / "cgroup.procs").write_text(pid, "ascii")


def _find_v1(memberships: dict[str, str]) -> Cgroups | None:
    bases: dict[str, Path] = {}
    for controller in _V1_CONTROLLERS:
        if controller not in memberships:
            continue
        own = _ROOT / controller / memberships[controller].lstrip("/")
        base = own / f"{_GROUP}-cells"
        try:
            base.mkdir(exist_ok=True)
            probe = base / f"probe-{os.getpid()}"
            probe.mkdir()
            probe.rmdir()
        except OSError:
            continue
        bases[controller] = base
    return Cgroups(1, bases) if bases else None


def _words(path: Path) -> list[str]:
    return path.read_text("ascii").split()


def _wait_until_frozen(path: Path, word: str) -> bool:
    deadline = time.monotonic() + _FREEZE_LIMIT_S
    while word not in path.read_text("ascii"):
        if time.monotonic() > deadline:
            return False
    return True


def _remove(folder: Path) -> None:
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
        self._folder.mkdir()
        if "memory" in bases:
            (self._folder / "memory.max").write_text(str(limits.memory_bytes), "ascii")
            swap = self._folder / "memory.swap.max"
            if swap.exists():
                swap.write_text("0", "ascii")
        if "pids" in bases:
            (self._folder / "pids.max").write_text(str(limits.processes), "ascii")
        if "cpu" in bases and limits.cpu_cores:
            (self._folder / "cpu.max").write_text(f"{int(limits.cpu_cores * _PERIOD_US)} {_PERIOD_US}", "ascii")

    def add(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid), "ascii")

    def freeze(self) -> bool:
        (self._folder / "cgroup.freeze").write_text("1", "ascii")
        return _wait_until_frozen(self._folder / "cgroup.events", "frozen 1")

    def thaw(self) -> None:
        (self._folder / "cgroup.freeze").write_text("0", "ascii")

    def oom_killed(self) -> bool:
        return "memory" in self._bases and _counter(self._folder / "memory.events", "oom_kill") > 0

    def peak_bytes(self) -> int | None:
        peak = self._folder / "memory.peak"
        return int(peak.read_text("ascii")) if peak.exists() else None

    def remove(self) -> None:
        _remove(self._folder)


class _V1Group:
    def __init__(self, bases: dict[str, Path], name: str, limits: CellLimits) -> None:
        self._folders = {controller: base / name for controller, base in bases.items()}
        for folder in self._folders.values():
            folder.mkdir()
        if memory := self._folders.get("memory"):
            (memory / "memory.limit_in_bytes").write_text(str(limits.memory_bytes), "ascii")
            with_swap = memory / "memory.memsw.limit_in_bytes"
            if with_swap.exists():
                with_swap.write_text(str(limits.memory_bytes), "ascii")
        if pids := self._folders.get("pids"):
            (pids / "pids.max").write_text(str(limits.processes), "ascii")
        if (cpu := self._folders.get("cpu")) and limits.cpu_cores:
            (cpu / "cpu.cfs_period_us").write_text(str(_PERIOD_US), "ascii")
            (cpu / "cpu.cfs_quota_us").write_text(str(int(limits.cpu_cores * _PERIOD_US)), "ascii")

    def add(self, pid: int) -> None:
        for folder in self._folders.values():
            (folder / "cgroup.procs").write_text(str(pid), "ascii")

    def freeze(self) -> bool:
        folder = self._folders.get("freezer")
        if folder is None:
            return False
        (folder / "freezer.state").write_text("FROZEN", "ascii")
        return _wait_until_frozen(folder / "freezer.state", "FROZEN")

    def thaw(self) -> None:
        if folder := self._folders.get("freezer"):
            (folder / "freezer.state").write_text("THAWED", "ascii")

    def oom_killed(self) -> bool:
        folder = self._folders.get("memory")
        return folder is not None and _counter(folder / "memory.oom_control", "oom_kill") > 0

    def peak_bytes(self) -> int | None:
        folder = self._folders.get("memory")
        return int((folder / "memory.max_usage_in_bytes").read_text("ascii")) if folder else None

    def remove(self) -> None:
        for folder in self._folders.values():
            _remove(folder)
