"""From a policy to a bubblewrap command line. Nothing is started here: `supervise` does that."""

from __future__ import annotations

import functools
import os
from pathlib import Path

from daemon.executor.sandbox.policy import OVERFLOW_UID, Policy

BWRAP = "bwrap"
_USR_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_CAPABILITIES = ("CAP_SYS_ADMIN", "CAP_SETPCAP")  # namespaces and mounts; giving all of this up
_ROOT_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID")  # a uid for each cell


def running_as_root() -> bool:
    """Whether cells can get uids of their own. Only root can give them, and only where there are several: in a user
    namespace with one uid (`unshare -r`, some containers) root is an ordinary user by another number."""
    return os.geteuid() == 0 and _known_uids() > 1


@functools.cache
def _known_uids() -> int:
    """The uids of this user namespace. Kept, because it is asked at the birth of every cell, and does not change as
    long as a process lives."""
    return sum(int(line.split()[2]) for line in Path("/proc/self/uid_map").read_text("ascii").splitlines())


def command(policy: Policy, program: list[str], *, info_fd: int, gate_fd: int, userns_fd: int | None) -> list[str]:
    """The full argv. bubblewrap reports its child on `info_fd` and waits for a byte on `gate_fd` before it runs
    `program`, which keeps what it takes to give each of its forks namespaces of its own.

    `userns_fd` is given as root: bubblewrap waits there until the user map is written.
    """
    argv = [BWRAP, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    argv += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--hostname", policy.hostname]
    argv += ["--info-fd", str(info_fd), "--block-fd", str(gate_fd), "--cap-drop", "ALL"]
    uid = 0 if userns_fd is not None else OVERFLOW_UID
    capabilities = _CAPABILITIES + (_ROOT_CAPABILITIES if userns_fd is not None else ())
    argv += [] if userns_fd is None else ["--userns-block-fd", str(userns_fd)]
    argv += ["--uid", str(uid), "--gid", str(uid)]
    argv += [word for capability in capabilities for word in ("--cap-add", capability)]
    argv += _view(policy)
    argv += ["--clearenv"]
    argv += [word for name, value in policy.environment.items() for word in ("--setenv", name, value)]
    return [*argv, "--chdir", "/", "--", *program]


def _view(policy: Policy) -> list[str]:
    """The file system as the cell sees it: tmpfs where it may write, read-only binds, fresh /proc and /dev.

    The tmpfs come before the binds: an environment that lies below /tmp must stay visible in it.
    """
    argv = ["--proc", "/proc", "--dev", "/dev"]
    argv += [word for node in policy.device_nodes for word in ("--dev-bind", str(node), str(node))]
    for mount in policy.writable_tmpfs:
        argv += ["--perms", "1777", "--size", str(policy.limits.tmp_bytes), "--tmpfs", mount]
    for folder in _parents(policy.read_only):
        if str(folder) not in policy.writable_tmpfs:
            argv += ["--perms", "0755", "--dir", str(folder)]
    for path in policy.read_only:
        argv += ["--ro-bind", str(path), str(path)]
    for name in _USR_LINKS:
        link = Path("/") / name
        if link.is_symlink():
            argv += ["--symlink", os.readlink(link).lstrip("/"), str(link)]  # noqa: PTH115 - the text of the link
        elif link.is_dir():
            argv += ["--ro-bind", str(link), str(link)]
    return [*argv, "--remount-ro", "/"]


def _parents(paths: tuple[Path, ...]) -> list[Path]:
    """Folders to create above the binds, outermost first: bubblewrap would copy the mode of a private home."""
    needed: set[Path] = set()
    for path in paths:
        for parent in path.parents:
            if parent != Path("/") and not any(parent.is_relative_to(bound) for bound in paths):
                needed.add(parent)
    return sorted(needed, key=lambda folder: len(folder.parts))
