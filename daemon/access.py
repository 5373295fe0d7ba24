"""Who may read a file besides its owner: POSIX access control lists, kept in the extended attributes that Linux keeps
them in.

Sources: acl(5) for what an entry means, linux/posix_acl_xattr.h for the layout: a version, then (tag, permissions, id)
triples, little-endian.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
_VERSION = 2
_OWNER, _USER, _GROUP, _MASK, _OTHER = 0x01, 0x02, 0x04, 0x10, 0x20
_NOBODY = 0xFFFFFFFF  # the id of an entry that names none
_READ, _WRITE, _SEARCH = 4, 2, 1


def share_with(path: Path, uid: int | None) -> None:
    """Let `path` be read by its owner, its group and the user `uid` (None: nobody more), and by nobody else.

    Raises `OSError` where the file system has no access control lists; the mode alone keeps everybody else out then.
    """
    search = _SEARCH if path.is_dir() else 0
    path.chmod(0o750 if search else 0o640)
    if uid is None:
        return
    reading = _READ | search
    entries = [
        (_OWNER, _READ | _WRITE | search, _NOBODY),
        (_USER, reading, uid),
        (_GROUP, reading, _NOBODY),
        (_MASK, reading, _NOBODY),
        (_OTHER, 0, _NOBODY),
    ]
    os.setxattr(path, _ACCESS, _packed(entries))


def _packed(entries: list[tuple[int, int, int]]) -> bytes:
    return struct.pack("<I", _VERSION) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def keeps_others_out(folder: Path) -> bool:
    """Whether what is made in `folder` cannot be read by other users: its default list gives them nothing."""
    try:
        packed = os.getxattr(folder, _DEFAULT)
    except OSError:
        return False
    entries = [struct.unpack_from("<HHI", packed, at) for at in range(4, len(packed) - 7, 8)]
    rights = {tag: permissions for tag, permissions, _ in entries}
    return not rights.get(_OTHER, _READ) & _READ and not rights.get(_GROUP, _READ) & _READ
