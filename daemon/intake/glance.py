"""A glance at a bundle that has just been claimed: how urgent it says it is. Nothing of it is checked here.

The contract is read for good when the job is leased. When that is, its priority decides: it has to be known before. A
bundle that cannot be read at a glance (an archive, a large contract, nonsense) waits at priority 0.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

_GLANCE_BYTES = 1 << 20
_MOST = 100


def priority_of(bundle: Path) -> int:
    """The contract's `priority`, or 0. `bundle`: a folder with a contract, or a file that may be one."""
    # A link to a folder may lead anywhere, say to a file server that does not answer, and the main loop waits here.
    text = _start_of(bundle / "contract.json" if _is_folder(bundle) else bundle)
    try:
        contract = json.loads(text) if text.lstrip()[:1] == b"{" else None
    except (ValueError, RecursionError):
        return 0
    priority = contract.get("priority") if isinstance(contract, dict) else None
    if isinstance(priority, bool) or not isinstance(priority, int):
        return 0
    return priority if abs(priority) <= _MOST else 0


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:
        return False


def _start_of(path: Path) -> bytes:
    """All of a small regular file; nothing of anything else, and no waiting for it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode) or status.st_size > _GLANCE_BYTES:
            return b""
        return os.read(fd, _GLANCE_BYTES)
    except OSError:
        return b""
    finally:
        os.close(fd)
