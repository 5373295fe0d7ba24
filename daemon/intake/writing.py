"""Writing the files of a private copy: plain modes, constant memory; disk faults are ours, not the bundle's."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from daemon import fsio
from daemon.errors import NotBegun

CHUNK_BYTES = 256 * 1024
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_folder(path: Path) -> None:
    """Make `path` and what is missing above it, all mode 0755 whatever the umask is."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir()
        path.chmod(0o755)
    except OSError as error:
        raise NotBegun(f"cannot make the folder {path}: {error.strerror or error}") from error


def pour(chunks: Iterable[bytes], path: Path, *, durable: bool = False) -> None:
    """Write `chunks` to the file `path`, which must not exist, mode 0644. Raises `NotBegun` if the disk refuses."""
    make_folder(path.parent)
    try:
        descriptor = os.open(path, _CREATE, 0o600)
    except OSError as error:
        raise _failed(path, error) from error
    with os.fdopen(descriptor, "wb", buffering=0) as stream:
        for chunk in chunks:
            _write_all(stream.fileno(), chunk, path)
        try:
            os.fchmod(stream.fileno(), 0o644)
            if durable:
                os.fsync(stream.fileno())
        except OSError as error:
            raise _failed(path, error) from error


def _write_all(descriptor: int, chunk: bytes, path: Path) -> None:
    view = memoryview(chunk)
    while view:
        try:
            written = os.write(descriptor, view)
        except OSError as error:
            raise _failed(path, error) from error
        view = view[written:]


def _failed(path: Path, error: OSError) -> NotBegun:
    return NotBegun(f"cannot write {path}: {error.strerror or error}", hint=fsio.hint_of_room(error))
