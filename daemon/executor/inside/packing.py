"""Files of a bundle and of its builds, into a cell and out of it, through memfds."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

# Our own archive, in the cell of its maker. Python before 3.11.4 has no filters, later ones have a stricter default.
_KEEP_AS_PACKED: dict[str, Any] = {"filter": "tar"} if hasattr(tarfile, "tar_filter") else {}
_LONG_AGO_S = 1_000_000_000


def write_files(folder: Path, files: list[list[Any]], fd: int) -> None:
    """Write the files (name, size in bytes), which `fd` holds one behind the other, into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    offset = 0
    for name, size in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_read(fd, size, offset))
        os.utime(path, (_LONG_AGO_S, _LONG_AGO_S))  # older than anything that was built from it in another cell
        offset += size


def unpack(folder: Path, fd: int, size_bytes: int) -> None:
    """What `packed` made of a folder, as it was."""
    with tarfile.open(fileobj=io.BytesIO(_read(fd, size_bytes, 0))) as archive:
        archive.extractall(folder, **_KEEP_AS_PACKED)  # noqa: S202 - its maker's own cell


def packed(folder: Path) -> bytes:
    """The folder as a tar, time stamps kept in whole seconds: ninja decides by them what is up to date.

    A tar's fractions of a second are floats, which round up as well as down. A file that comes back a nanosecond
    younger than ninja remembers is built again, and that takes half a minute of a GPU's time.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        if folder.is_dir():
            archive.add(folder, arcname=".", filter=_in_whole_seconds)
    return buffer.getvalue()


def _in_whole_seconds(item: tarfile.TarInfo) -> tarfile.TarInfo:
    """In place: `TarInfo.replace` came with Python 3.11.4, and Debian 12 has 3.11.2."""
    item.mtime = int(item.mtime)
    return item


def _read(fd: int, size: int, offset: int) -> bytes:
    parts, end = [], offset + size
    while offset < end:
        part = os.pread(fd, end - offset, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
    return b"".join(parts)
