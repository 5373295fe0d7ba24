"""Which mount a path is on, as the kernel tells."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_POINT_FIELD = 4
_MOUNTINFO = Path("/proc/self/mountinfo")
_NETWORK_TYPES = frozenset(
    ("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "lustre", "beegfs", "gpfs", "ceph")
) | {"glusterfs", "afs", "ocfs2", "gfs2", "fuse"}
_LOCAL_FUSE = frozenset(("fuse.fuse-overlayfs", "fuse.ext4", "fuse.bindfs"))


@dataclass(frozen=True)
class Mount:
    """The mount a path is on: where, the type of its file system, and that file system's options."""

    point: str
    fstype: str
    options: frozenset[str] = frozenset()

    @property
    def is_network(self) -> bool:
        """True when other hosts can change files there without this kernel seeing it."""
        is_strange = self.fstype.startswith("fuse.") and self.fstype not in _LOCAL_FUSE
        return self.fstype in _NETWORK_TYPES or is_strange


def mount_of(path: Path, mountinfo: Path = _MOUNTINFO) -> Mount | None:
    """The mount that holds `path` (or its nearest existing parent), None when the kernel does not tell."""
    place = os.path.realpath(path)
    best: Mount | None = None
    for mount in _mounts(mountinfo):
        inside = place == mount.point or place.startswith(mount.point.rstrip("/") + "/")
        if inside and (best is None or len(mount.point) >= len(best.point)):
            best = mount  # of equal points the later mount hides the earlier one
    return best


def apart(folders: Iterable[Path]) -> list[Path]:
    """Those that lie on another mount than the first one. Nothing can be renamed from one mount to another, not even
    within one file system."""
    points = {folder: mount.point if (mount := mount_of(folder)) else None for folder in folders}
    first = next(iter(points.values()), None)
    return [folder for folder, point in points.items() if point != first]


def is_any_below(folder: Path) -> bool:
    """Whether something is mounted on `folder`, or on a folder in it. `folder` may be gone. The folder above it is not
    listed."""
    place = os.path.join(os.path.realpath(folder.parent), folder.name)  # noqa: PTH118
    return any(mount.point == place or mount.point.startswith(f"{place}/") for mount in _mounts(_MOUNTINFO))


def _mounts(mountinfo: Path) -> Iterator[Mount]:
    try:
        lines = mountinfo.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields, rest = before.split(" "), after.split(" ")
        if separator and len(fields) > _POINT_FIELD:
            yield Mount(_unescaped(fields[_POINT_FIELD]), rest[0], frozenset(rest[-1].split(",")))


def _unescaped(field: str) -> str:
    """mountinfo writes blank, tab, newline and backslash as octal."""
    for octal, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        field = field.replace(octal, character)
    return field
