"""From a fork of the zygote to a process behind the walls of a cell: namespaces and mounts of its own, then no
privilege for good. Runs inside the sandbox, before anything of a bundle does.

Theory of operation: the zygote may make namespaces and mounts, in the user namespace bubblewrap gave it and nowhere
else. A fork gets its own of everything that cells must not share: processes, mounts, System V objects, host name,
network. Its /tmp and /dev/shm are fresh and hide the zygote's; what a Python environment has below /tmp is bound
back in, read-only. Its /proc shows its own processes only. Then every capability goes, for good.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWCGROUP, _CLONE_NEWUTS, _CLONE_NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
_MS_REMOUNT, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20, 0x1000, 0x4000, 0x40000
_PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT = 4, 24, 38, 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPABILITIES = 64
_TERMINALS = "/dev/pts"
# As bubblewrap covers them; and what a process could ask the kernel to watch for it while it stands frozen.
_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "pressure")
# Who reads it keeps everybody on the host from locking a file, or unlocking one: 60 readers, of the least priority,
# made a lock take a thousand times as long.
_LOCKS = "/proc/locks"
# Statistics of the host's file systems, among them ext4's es_shrinker_info: whoever reads it walks the list of all
# inodes in use, with the list locked and a processor kept for that. Of 400,000 inodes it took 160 ms, of each reader.
_FILE_SYSTEMS = "/proc/fs"

_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class View:
    """What a cell may write: `writable` folders, each a tmpfs of `size_bytes` and `inodes` (None: not capped), and
    the read-only paths below them that must stay visible."""

    writable: tuple[str, ...]
    size_bytes: int
    inodes: int | None
    visible: tuple[str, ...]


def leave_namespaces() -> None:
    """Have namespaces of one's own from now on; the next fork is pid 1 of a new one. Raises `OSError`."""
    _call("unshare", _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWUTS | _CLONE_NEWNET)


def leave_cgroup_namespace() -> None:
    """See one's own cgroup as the root of all. Where the kernel cannot, a cell sees the name of its group."""
    _LIBC.unshare(_CLONE_NEWCGROUP)


def build(view: View) -> None:
    """Mount a cell's view, as pid 1 of its namespace. Raises `OSError`."""
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    kept = [(path, os.open(path, os.O_PATH | os.O_CLOEXEC)) for path in view.visible]
    options = f"mode=1777,size={view.size_bytes}" + ("" if view.inodes is None else f",nr_inodes={view.inodes}")
    for folder in view.writable:
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV, options)
    for path, descriptor in kept:
        _bind_back(Path(path), descriptor)
        os.close(descriptor)
    _empty(_TERMINALS)  # terminals are counted for all containers of the host together
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)
    _empty(_FILE_SYSTEMS)
    for name in _PROC_READ_ONLY:
        if os.path.exists(f"/proc/{name}"):  # noqa: PTH110
            _mount(f"/proc/{name}", f"/proc/{name}", None, _MS_BIND | _MS_REC)
            _mount(None, f"/proc/{name}", None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    if os.path.exists(_LOCKS):  # noqa: PTH110
        _mount("/dev/null", _LOCKS, None, _MS_BIND)


def _empty(folder: str) -> None:
    """Have nothing in it, if it is there."""
    if os.path.isdir(folder):  # noqa: PTH112
        _mount("tmpfs", folder, "tmpfs", _MS_NOSUID | _MS_NODEV | _MS_RDONLY, "mode=755")


def _bind_back(path: Path, descriptor: int) -> None:
    source = f"/proc/self/fd/{descriptor}"
    is_folder = Path(source).is_dir()
    (path if is_folder else path.parent).mkdir(parents=True, exist_ok=True)
    if not is_folder:
        path.touch()
    _mount(source, str(path), None, _MS_BIND | _MS_REC)
    kept = _MS_NOEXEC if os.statvfs(path).f_flag & os.ST_NOEXEC else 0  # nobody here may take it off
    _mount(None, str(path), None, _MS_REMOUNT | _MS_BIND | _MS_RDONLY | _MS_NOSUID | _MS_NODEV | kept)


def drop_privileges(uid: int | None) -> None:
    """Become `uid` (None: stay who one is), without any capability or a way to get one back. Raises `OSError`."""
    _LIBC.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    for capability in range(_CAPABILITIES):
        _LIBC.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if uid is not None:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def be_inspectable(wanted: bool) -> None:
    """Whether processes of the same uid may look into this one through /proc."""
    _call("prctl", _PR_SET_DUMPABLE, int(wanted), 0, 0, 0)


def close_all_but(descriptors: Iterable[int]) -> None:
    """Keep only these descriptors open."""
    low = 0
    for kept in sorted(descriptors):
        if low < kept:  # an empty range would be taken for an endless one
            os.closerange(low, kept)
        low = kept + 1
    os.closerange(low, max(low + 1, os.sysconf("SC_OPEN_MAX")))


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    arguments = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    data = None if options is None else options.encode()
    _call("mount", *arguments, ctypes.c_ulong(flags), data, what=target)


def _call(name: str, *args: object, what: str = "") -> None:
    if getattr(_LIBC, name)(*args) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name} {what}: {os.strerror(code)}")
