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

from daemon.executor.sandbox import owner
from daemon.executor.sandbox.cell_group import ROOT, CellGroup, V1Group, V2Group, memory_around, remove_empty
from daemon.executor.sandbox.policy import CellLimits

_GROUP = "evald"
_LEAF = f"{_GROUP}-main"
_MOVES = 20
_DESTROY_LIMIT_S = 2.0
_V1_CONTROLLERS = ("memory", "pids", "freezer", "cpu", "cpuset")
_CPUSET_FILES = ("cpuset.mems", "cpuset.cpus")


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
        kind = V1Group if self.version == 1 else V2Group
        return kind(self.bases, name, limits)

    def sweep(self, patience_s: float = 0.0) -> None:
        """Kill and remove what dead judges of this user left behind; root takes everybody's. Groups of living ones are
        not touched. `patience_s`: how long to wait for those in which the kernel still gives back what was theirs."""
        patient_until = time.monotonic() + patience_s
        for base in sorted(set(self.bases.values())):
            for folder in base.iterdir():
                if _may_be_removed(folder) and owner.is_dead(folder.name.rpartition("-")[0]):
                    _destroy(folder, patient_until)


def existing() -> Cgroups | None:
    """The cgroups that a judge of ours has made; none are made here. None where there are none."""
    memberships = _own_memberships()
    if (base := _v2_base(memberships)) is not None and base.is_dir():
        return Cgroups(2, {"freezer": base})
    bases = {name: _v1_base(name, memberships) for name in _V1_CONTROLLERS if name in memberships}
    found = {name: base for name, base in bases.items() if base.is_dir()}
    return Cgroups(1, found) if found else None


def _may_be_removed(folder: Path) -> bool:
    """Whether this user may kill the members of the group: root's groups are seen by everybody."""
    try:
        return folder.is_dir() and os.geteuid() in (0, folder.stat().st_uid)
    except FileNotFoundError:  # somebody else has just removed it
        return False


def _destroy(folder: Path, patient_until: float) -> None:
    """Thaw and kill every member, then remove the group, under every controller it exists for."""
    deadline = time.monotonic() + _DESTROY_LIMIT_S
    folders, spent = {folder}, owner.time_spent(_members(folder))
    while pids := _members(folder):
        for pid in pids:
            folders |= _groups_of(pid, folder.name)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for group in folders:
            _thaw(group)
        if (now := time.monotonic()) > deadline:
            before, spent = spent, owner.time_spent(_members(folder))
            if now > patient_until or spent == before:
                return
            deadline = now + _DESTROY_LIMIT_S
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
            found.add(ROOT / controller / path.lstrip("/"))
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


def memory_limit() -> int:
    """How many bytes this process and all that share its groups may have together: the memory of the host, or of a
    container."""
    memberships = _own_memberships()
    if "memory" in memberships:
        return memory_around(_v1_base("memory", memberships), "memory.limit_in_bytes")
    return memory_around(ROOT / memberships.get("", "/").lstrip("/") / "member", "memory.max")


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
    with suppress(OSError):  # that cells keep off other lanes is had where it can be had
        for node in (top, base):
            (node / "cgroup.subtree_control").write_text("+cpuset", "ascii")
    enabled = _words(base / "cgroup.subtree_control")
    return Cgroups(2, {name: base for name in (*enabled, "freezer")})


def _v2_base(memberships: dict[str, str]) -> Path | None:
    """The group under which cells go. For a process that was already moved to the leaf, that is the group above."""
    if "" not in memberships or not (ROOT / "cgroup.controllers").exists():
        return None
    own = ROOT / memberships[""].lstrip("/")
    return (own.parent if own.name == _LEAF else own) / f"{_GROUP}-cells"


def _leave_inner_node(top: Path) -> None:
    """v2 allows controllers only below a group without processes: move ourselves (and siblings in it) to a leaf."""
    if top == ROOT:
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
            if controller == "cpuset":  # without them nothing can be a member
                for name in _CPUSET_FILES:
                    (base / name).write_text((base.parent / name).read_text("ascii"), "ascii")
            probe = base / f"probe-{os.getpid()}"
            probe.mkdir()
            probe.rmdir()
        except OSError:
            continue
        bases[controller] = base
    return Cgroups(1, bases) if bases else None


def _v1_base(controller: str, memberships: dict[str, str]) -> Path:
    return ROOT / controller / memberships[controller].lstrip("/") / f"{_GROUP}-cells"


def _words(path: Path) -> list[str]:
    return path.read_text("ascii").split()
