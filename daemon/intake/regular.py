"""Opening what somebody has dropped: nothing is followed, nothing is waited for, and only regular files are read.

`O_NOFOLLOW` is about the last name of a path alone, and a sender may swap any folder on the way for a link. So what is
below a folder is opened from its descriptor, one name at a time. Nor is a mount crossed: see `onemount`.
"""

from __future__ import annotations

import errno
import io
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from daemon import onemount

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

OPEN_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
FOLDER_FLAGS = OPEN_FLAGS | os.O_DIRECTORY

LEASED = "is under a lease (F_SETLEASE) that its holder does not give up: drop it when nothing has it open"
_LEASE_S = 2.0
_LEASE_STEP_S = 0.01


class Opener:
    """Opens the files of one bundle. It waits for whoever holds leases on them, a file server say, for so long
    altogether. `crossing`: what is mounted in the bundle is opened as well, because it is the bundle of whoever runs
    this."""

    def __init__(self, *, crossing: bool) -> None:
        self._left_s = _LEASE_S
        self._crossing = crossing

    def open(self, name: str | Path, flags: int = OPEN_FLAGS, *, dir_fd: int | None = None) -> int:
        """A descriptor. Raises `OSError`; of these `BlockingIOError` for a file that stays under a lease."""
        while True:
            try:
                if self._crossing:
                    return os.open(name, flags, dir_fd=dir_fd)
                return onemount.open_at(name, flags, dir_fd=dir_fd)
            except BlockingIOError:
                if self._left_s <= 0:
                    raise
                self._left_s -= _LEASE_STEP_S
                time.sleep(_LEASE_STEP_S)

    def status(self, name: str | Path, *, dir_fd: int | None = None) -> os.stat_result:
        """As `os.lstat`. Raises `OSError`."""
        if self._crossing:
            return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return onemount.status(name, dir_fd=dir_fd)


class _Reader(io.FileIO):
    """Raises where `FileIO` would not. A file server in somebody's program may answer EAGAIN: `FileIO` then answers
    None, and a buffer over it takes what it has so far for the whole file."""

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        count: int | None = super().readinto(buffer)
        if count is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return count


def stream_of(descriptor: int, *, closes: bool, buffer_bytes: int = io.DEFAULT_BUFFER_SIZE) -> io.BufferedReader:
    """A stream over an open file. `read(size)` raises `OSError` where less is read than there is. `closes`: the
    descriptor too."""
    return io.BufferedReader(_Reader(descriptor, closefd=closes), buffer_bytes)


@contextmanager
def opened(path: str | Path, *, dir_fd: int | None = None) -> Iterator[IO[bytes]]:
    """The file at `path`, for reading. Raises `OSError`, also for a folder or a pipe. `os.fdopen` would raise for a
    folder as well, but leave its descriptor open."""
    descriptor = onemount.open_at(path, OPEN_FLAGS, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        with stream_of(descriptor, closes=False) as stream:
            yield stream
    finally:
        os.close(descriptor)


@contextmanager
def opened_folder(path: str | Path, *, dir_fd: int | None = None) -> Iterator[int]:
    """A descriptor of the folder at `path`. Raises `OSError`, also for a link to one."""
    descriptor = onemount.open_at(path, FOLDER_FLAGS, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
