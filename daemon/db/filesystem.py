"""Is a path on a network file system? SQLite's WAL needs memory shared by processes: over a network it corrupts."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from daemon.errors import OperatorError

# statfs(2) f_type, as in linux/magic.h
NETWORK_MAGIC = {
    0x6969: "nfs",
    0x517B: "smb",
    0xFF534D42: "cifs",
    0xFE534D42: "smb2",
    0x01021997: "9p",
    0x5346414F: "afs",
    0x00C36400: "ceph",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x19830326: "beegfs",
}
FUSE_MAGIC = 0x65735546
_LOCAL_FUSE = {"fuseblk", "fuse.fuse-overlayfs", "fuse.ext4", "fuse.bindfs"}
_STATFS_BYTES = 512  # struct statfs is 120 bytes on 64-bit Linux; room to spare


def statfs_magic(path: Path) -> int:
    """The file system type number of the nearest existing folder at or above `path`."""
    existing = _existing(path)
    buffer = ctypes.create_string_buffer(_STATFS_BYTES)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.statfs(os.fsencode(existing), buffer) != 0:
        number = ctypes.get_errno()
        raise OperatorError(f"cannot look at the file system of {existing}: {os.strerror(number)}")
    return ctypes.c_long.from_buffer(buffer).value & 0xFFFFFFFF


def network_kind(path: Path, *, magic: int | None = None, fuse_type: str | None = None) -> str | None:
    """The name of the network file system `path` lies on ("nfs", "fuse.sshfs"), or None when it is local.

    `magic` and `fuse_type` replace what the kernel says (tests, doctor).
    """
    found = statfs_magic(path) if magic is None else magic
    if found in NETWORK_MAGIC:
        return NETWORK_MAGIC[found]
    if found != FUSE_MAGIC:
        return None
    kind = fuse_type or _mount_type(_existing(path))
    return None if kind in _LOCAL_FUSE else kind


def refuse_network(path: Path, *, magic: int | None = None, fuse_type: str | None = None) -> None:
    """Raise `OperatorError` when `path` (a SQLite file) would lie on a network file system."""
    kind = network_kind(path, magic=magic, fuse_type=fuse_type)
    if kind is None:
        return
    raise OperatorError(
        f"the SQLite database {path} is on a network file system ({kind}), where it would be corrupted",
        hint="set `state` to a folder on a local disk (EVALD_STATE=/var/lib/evald), or `database` to a Postgres URL",
    )


def _existing(path: Path) -> Path:
    folder = path.absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _mount_type(path: Path) -> str:
    """The type ("fuse.sshfs") of the mount that holds `path`, from /proc/self/mountinfo; "fuse" when it is not
    listed.
    """
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines():
        mount, _, origin = line.partition(" - ")
        if mount.split()[2] == wanted:
            return origin.split()[0]
    return "fuse"
