"""A glance at a bundle that waits: how urgent it says it is, and its labels. Nothing is checked here.

The contract is read properly when the job is leased. But its priority decides when that is, so it must be known before.
A bundle that cannot be read at a glance (an archive, a large contract, nonsense) waits at priority 0 and has no labels
yet. So does a bundle that a failing disk or file server does not give, after a second try.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from daemon import onemount
from daemon.contract import CONTRACT_FILE
from daemon.contract.request import Labels
from daemon.intake import regular

_GLANCE_BYTES = 1 << 20
_MOST = 100
_FAULTS = (errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EREMOTEIO)  # of storage, and no sender can make them
_PAUSES_S = (0.02, 0.2)
_LABELS: TypeAdapter[dict[str, str]] = TypeAdapter(Labels)


@dataclass(frozen=True)
class Glance:
    """`priority`: the contract's, or 0. `labels`: the contract's, if they are such as a contract may have."""

    priority: int
    labels: dict[str, str]


def glance(bundle: Path) -> Glance:
    """What is known of a bundle before it is leased: a folder with a contract, or a file that may be one."""
    contract = _contract_in(bundle) or {}
    priority = contract.get("priority")
    if isinstance(priority, bool) or not isinstance(priority, int) or abs(priority) > _MOST:
        priority = 0
    try:
        labels = _LABELS.validate_python(contract.get("labels", {}))
    except ValidationError:
        labels = {}
    return Glance(priority, labels)


def labels_of(bundle: Path) -> dict[str, str] | None:
    """Those of the contract's labels that are texts. None: the contract cannot be read at a glance."""
    contract = _contract_in(bundle)
    if contract is None:
        return None
    labels = contract.get("labels")
    return {key: text for key, text in labels.items() if isinstance(text, str)} if isinstance(labels, dict) else {}


def _contract_in(bundle: Path) -> dict[str, Any] | None:
    # A link, or what is mounted, may lead to a file server that does not answer, and the main loop waits here.
    text = _text_of(bundle)
    try:
        contract = json.loads(text) if text.lstrip()[:1] == b"{" else None
    except (ValueError, RecursionError):
        return None
    return contract if isinstance(contract, dict) else None


def _text_of(bundle: Path) -> bytes:
    """The text of a small file. None for anything else, without waiting for it. A read that fails is tried again,
    because a file server may fail for a moment."""
    for pause_s in (*_PAUSES_S, 0.0):
        try:
            return _read(bundle)
        except OSError as error:
            if error.errno in _FAULTS:
                time.sleep(pause_s)
    return b""


def _read(bundle: Path) -> bytes:
    """Raises `OSError`."""
    if not stat.S_ISDIR(onemount.status(bundle).st_mode):
        return _start_of(bundle)
    with regular.opened_folder(bundle) as folder:
        return _start_of(CONTRACT_FILE, dir_fd=folder)


def _start_of(path: str | Path, *, dir_fd: int | None = None) -> bytes:
    with regular.opened(path, dir_fd=dir_fd) as stream:
        if os.fstat(stream.fileno()).st_size > _GLANCE_BYTES:
            return b""
        return stream.read(_GLANCE_BYTES)
