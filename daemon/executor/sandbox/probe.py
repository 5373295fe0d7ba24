"""Can this host build the sandbox, and what would be weaker here than it should be? Asked once at start, stated in
every result."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from daemon.errors import OperatorError
from daemon.executor.sandbox import bubblewrap
from daemon.executor.sandbox.cgroup import Cgroups

INSTALL_HINT = "sudo apt-get install bubblewrap"


@dataclass(frozen=True)
class Isolation:
    """`level` is recorded in every result; `weaker` says in words what this host cannot enforce."""

    level: str
    weaker: tuple[str, ...]


def assess(isolation: str, groups: Cgroups | None, *, gpu: bool = False) -> Isolation:
    """What cells on this host are held by.

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
    done = subprocess.run(
        [bubblewrap.BWRAP, "--unshare-all", "--die-with-parent", "--ro-bind", "/", "/", "--", "/bin/true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    if done.returncode:
        raise OperatorError(
            f"bubblewrap cannot make namespaces here: {done.stderr.strip()}",
            hint="sudo sysctl -w kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000 "
            "(Ubuntu 24.04: sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0)",
        )
