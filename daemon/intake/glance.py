"""A glance at a bundle that has just been claimed: how urgent it says it is. Nothing of it is checked here.

The contract is read for good when the job is leased. When that is, its priority decides: it has to be known before. A
bundle that cannot be read at a glance (an archive, a large contract, nonsense) waits at priority 0.
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

from daemon import onemount
from daemon.contract import CONTRACT_FILE
from daemon.intake import regular

_GLANCE_BYTES = 1 << 20
_MOST = 100


def priority_of(bundle: Path) -> int:
    """The contract's `priority`, or 0. `bundle`: a folder with a contract, or a file that may be one."""
    # A link, or what is mounted, may lead to a file server that does not answer, and the main loop waits here.
    text = _contract_in(bundle)
    try:
        contract = json.loads(text) if text.lstrip()[:1] == b"{" else None
    except (ValueError, RecursionError):
        return 0
    priority = contract.get("priority") if isinstance(contract, dict) else None
    if isinstance(priority, bool) or not isinstance(priority, int):
        return 0
    return priority if abs(priority) <= _MOST else 0


def _contract_in(bundle: Path) -> bytes:
    """Of a small file all of it; nothing of anything that is no file, and no waiting for it."""
    try:
        if not stat.S_ISDIR(onemount.status(bundle).st_mode):
            return _start_of(bundle)
        with regular.opened_folder(bundle) as folder:
            return _start_of(CONTRACT_FILE, dir_fd=folder)
    except OSError:
        return b""


def _start_of(path: str | Path, *, dir_fd: int | None = None) -> bytes:
    with regular.opened(path, dir_fd=dir_fd) as stream:
        if os.fstat(stream.fileno()).st_size > _GLANCE_BYTES:
            return b""
        return stream.read(_GLANCE_BYTES)
