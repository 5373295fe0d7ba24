"""From a policy to a bubblewrap command line. Nothing is started here: `supervise` does that."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from daemon.executor.sandbox.policy import OVERFLOW_UID, Policy

BWRAP = "bwrap"
_USR_LINKS = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_STAGE_CAPABILITIES = ("CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_SYS_ADMIN")


def running_as_root() -> bool:
    """Only root can give cells a uid of their own."""
    return os.geteuid() == 0


def command(policy: Policy, program: list[str], *, info_fd: int, gate_fd: int, userns_fd: int | None) -> list[str]:
    """The full argv. bubblewrap reports its child on `info_fd` and waits for a byte on `gate_fd` before it runs
    `program`.

    `userns_fd` is given as root: bubblewrap waits there until the user map is written.
    """
    argv = [BWRAP, "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    argv += ["--unshare-cgroup-try", "--die-with-parent", "--new-session", "--hostname", policy.hostname]
    argv += ["--info-fd", str(info_fd), "--block-fd", str(gate_fd), "--cap-drop", "ALL"]
    if userns_fd is not None:
        argv += ["--userns-block-fd", str(userns_fd), "--uid", "0", "--gid", "0"]
        argv += [word for capability in _STAGE_CAPABILITIES for word in ("--cap-add", capability)]
    else:
        argv += ["--uid", str(OVERFLOW_UID), "--gid", str(OVERFLOW_UID)]
    argv += _view(policy)
    argv += ["--clearenv"]
    argv += [word for name, value in policy.environment.items() for word in ("--setenv", name, value)]
    argv += ["--chdir", "/", "--"]
    return argv + (_privileged_stage(policy) if userns_fd is not None else []) + program


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


def _privileged_stage(policy: Policy) -> list[str]:
    """Cap the inodes of the tmpfs (bubblewrap only knows a size), then become `uid` for good and run "$@"."""
    options = f"remount,size={policy.limits.tmp_bytes},nr_inodes={policy.limits.tmp_inodes},nosuid,nodev"
    mounts = [f"mount -o {options} {shlex.quote(mount)}" for mount in policy.writable_tmpfs]
    drop = (
        f"exec setpriv --reuid {policy.uid} --regid {policy.uid} --clear-groups --no-new-privs"
        ' --inh-caps=-all --ambient-caps=-all --bounding-set=-all -- "$@"'
    )
    return ["/bin/sh", "-c", " && ".join([*mounts, drop]), "stage"]
