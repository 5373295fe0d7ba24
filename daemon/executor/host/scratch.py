"""Temporary folders of our own processes. Their names say whose they are, so that those of a process that was killed
are removed by whoever comes later."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemon import fsio
from daemon.contract import CONTRACT_FILE
from daemon.executor.sandbox import owner

_PREFIX = "evald-"


def make(what: str) -> Path:
    """A new one, private. `what` it is for: one word. Raises `OSError`."""
    return Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{what}-{owner.tag()}."))


@contextmanager
def folder(what: str) -> Iterator[Path]:
    """A new one that is gone afterwards. Raises `OSError`."""
    made = make(what)
    try:
        yield made
    finally:
        fsio.remove_tree(made)


@contextmanager
def bundle(what: str, contract: Mapping[str, Any]) -> Iterator[Path]:
    """A new folder that is a bundle of nothing but `contract`, removed after the block. Raises `OSError`."""
    with folder(what) as made:
        (made / CONTRACT_FILE).write_text(json.dumps(contract), "utf-8")
        yield made


def sweep() -> None:
    """Remove those of this user whose process is dead."""
    for found in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*-*.*"):
        _, _, rest = found.name.removeprefix(_PREFIX).partition("-")
        if owner.is_dead(rest.partition(".")[0]) and found.lstat().st_uid == os.geteuid():
            fsio.remove_tree(found)
