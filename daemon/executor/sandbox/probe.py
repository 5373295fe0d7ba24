"""Can this host build the sandbox, and what would be weaker here than it should be? Asked once at start, stated in
every result."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import OperatorError
from daemon.executor.sandbox import bubblewrap
from daemon.executor.sandbox.cgroup import Cgroups

INSTALL_HINT = "sudo apt-get install bubblewrap"
_PROFILE = Path("/etc/apparmor.d/bwrap-userns-restrict")  # Ubuntu 26.04: bubblewrap's children have no capability
_DISABLED = _PROFILE.parent / "disable"
_SYSCTL = Path("/proc/sys")
_KEPT = "/etc/sysctl.d/60-evald.conf"  # so that it holds after a restart
_LIMIT = "user.max_user_namespaces"
_SWITCHES = {  # what forbids namespaces, and what allows them
    "kernel.apparmor_restrict_unprivileged_userns": ("1", "0"),  # Ubuntu 24.04 and newer
    "kernel.unprivileged_userns_clone": ("0", "1"),
    _LIMIT: ("0", "10000"),
}
_CAP_SYS_ADMIN = 21  # capabilities(7)
_UNKNOWN = "in a container? docs/how-to/run-in-a-container.md says what it has to allow"


@dataclass(frozen=True)
class Isolation:
    """`level` is recorded in every result; `weaker` says in words what this host cannot enforce."""

    level: str
    weaker: tuple[str, ...]


def assess(isolation: str, groups: Cgroups | None, *, gpu: bool = False) -> Isolation:
    """What holds the cells of this host.

    Raises `OperatorError` when a sandbox is wanted and cannot be had: evald then runs no bundle.
    """
    if isolation == "none":
        return Isolation("none", ("no sandbox at all: bundles run as you, with everything you may do",))
    if shutil.which(bubblewrap.BWRAP) is None:
        raise OperatorError("bubblewrap is not installed: no sandbox, no bundles", hint=INSTALL_HINT)
    _try_namespaces()
    weaker: list[str] = []
    if not bubblewrap.running_as_root():
        weaker.append("cells share the daemon's uid on the host: run evald as root for a uid per slot")
    if groups is None:
        weaker.append("no writable cgroup: memory and processes are limited per process by rlimits only")
    elif groups.missing:
        weaker.append(f"cgroup controllers not available: {', '.join(groups.missing)}")
    if gpu and (groups is None or "memory" in groups.missing):
        weaker.append("host memory of cells with a GPU is not limited: that takes a memory cgroup")
    level = "bubblewrap"
    level += "+uid" if bubblewrap.running_as_root() else ""
    level += f"+cgroup{groups.version}" if groups is not None else ""
    return Isolation(level, tuple(weaker))


def _try_namespaces() -> None:
    """Make what each cell has: bubblewrap's namespaces, and in them namespaces of a program's own. Where AppArmor takes
    the capabilities from what bubblewrap starts, the first works and the second does not."""
    argv = [bubblewrap.BWRAP, "--unshare-user", "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/"]
    argv += ["--cap-drop", "ALL", "--cap-add", "CAP_SYS_ADMIN", "--"]
    argv += ["unshare", "--mount", "--pid", "--ipc", "--uts", "--net", "--fork", "/bin/true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise OperatorError(f"bubblewrap cannot make namespaces here: {done.stderr.strip()}", hint=_remedy())


def _remedy() -> str:
    """The line to type, by what this host says of itself."""
    commands = []
    if _PROFILE.exists() and not (_DISABLED / _PROFILE.name).is_symlink():
        commands = [f"sudo ln -s {_PROFILE} {_DISABLED}/", f"sudo apparmor_parser -R {_PROFILE}"]
    switches = [name for name in _SWITCHES if _value_of(name) == _SWITCHES[name][0]]
    if _may_administer():  # the limit alone holds whoever may
        switches = [name for name in switches if name == _LIMIT]
    if switches:
        settings = " ".join(f"{name}={_SWITCHES[name][1]}" for name in switches)
        commands += [f"printf '%s\\n' {settings} | sudo tee {_KEPT}", f"sudo sysctl -p {_KEPT}"]
    return " && ".join(commands) or _UNKNOWN


def _may_administer() -> bool:
    """Whether the operating system takes us for privileged. Root in a unit of systemd's or in a container need not
    be."""
    status = Path("/proc/self/status").read_text("ascii", "replace")
    (effective,) = [line for line in status.splitlines() if line.startswith("CapEff:")]
    return bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)


def _value_of(name: str) -> str | None:
    """What a sysctl is set to; None where the kernel has none of that name."""
    try:
        return (_SYSCTL / name.replace(".", "/")).read_text("ascii").strip()
    except OSError:
        return None
