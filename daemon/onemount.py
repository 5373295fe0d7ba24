"""Looking at and opening what somebody else has put somewhere, without crossing a mount.

Theory of operation. Whoever owns a folder may be allowed to mount a file system of his own in it (FUSE asks for no
root). Everything that is asked of that one is answered by a program of his, now or never: a plain `stat` of the place
may wait for ever. The kernel refuses to cross a mount (`openat2` with RESOLVE_NO_XDEV) before it has asked anything.
Where it has no `openat2`, or a container refuses that, plain calls have to do.

The kernel asks a file server once more when its answer to a path is that the handle is stale (ESTALE), but not when it
is about a descriptor. What takes two calls here asks again itself.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

MOUNTED = "another file system is mounted there"

_LOOKS = 3  # while a file server says that the handle it has just given is stale
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)

_OPENAT2 = 437  # on every architecture
_RESOLVE_NO_XDEV = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_ITSELF = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class _How(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_at(path: str | Path, flags: int, *, dir_fd: int | None) -> int:
    """A descriptor of `path`, to read. `path` is a name in the open folder `dir_fd`, or lies in a folder that is
    trusted. Raises `OSError`, with EXDEV where something is mounted there."""
    if not _is_known():
        return os.open(path, flags, dir_fd=dir_fd)
    with _parent(path, dir_fd) as (folder, name):
        return _openat2(folder, name, flags)


def status(path: str | Path, *, dir_fd: int | None = None) -> os.stat_result:
    """As `os.lstat`, of a place as `open_at` takes it. Raises as that does."""
    if not _is_known():
        return os.stat(path, dir_fd=dir_fd, follow_symlinks=False)
    for _ in range(_LOOKS - 1):
        try:
            return _opened_status(path, dir_fd)
        except OSError as error:
            if error.errno != errno.ESTALE:
                raise
    return _opened_status(path, dir_fd)


def _opened_status(path: str | Path, dir_fd: int | None) -> os.stat_result:
    descriptor = open_at(path, _ITSELF, dir_fd=dir_fd)
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def is_there(path: Path) -> bool:
    """Whether there is an entry of that name, whatever it is, even a mount. Raises `OSError` where nobody can tell:
    `os.path.lexists` would call the name free, and a rename would replace what has it."""
    try:
        status(path)
    except OSError as error:
        if error.errno in (*_NOT_THERE, errno.EXDEV):
            return error.errno == errno.EXDEV
        raise
    return True


def is_gone(path: Path) -> bool:
    """Whether there is surely nothing of that name. What cannot be looked at may be there."""
    try:
        status(path)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def _parent(path: str | Path, dir_fd: int | None) -> Iterator[tuple[int, str]]:
    if dir_fd is not None:
        yield dir_fd, os.fspath(path)
        return
    above, name = os.path.split(path)
    folder = os.open(above or ".", _FOLDER)
    try:
        yield folder, name
    finally:
        os.close(folder)


def _openat2(folder: int, name: str, flags: int) -> int:
    how = _How(flags | os.O_CLOEXEC, 0, _RESOLVE_NO_XDEV)
    size, text = ctypes.c_size_t(ctypes.sizeof(how)), os.fsencode(name)
    if b"\0" in text:
        raise ValueError("embedded null byte")
    while True:
        descriptor = int(_LIBC.syscall(_OPENAT2, folder, text, ctypes.byref(how), size))
        if descriptor >= 0:
            return descriptor
        code = ctypes.get_errno()
        if code != errno.EINTR:
            raise OSError(code, MOUNTED if code == errno.EXDEV else os.strerror(code), name)


@cache
def _is_known() -> bool:
    folder = os.open("/", _FOLDER)
    try:
        os.close(_openat2(folder, ".", _FOLDER))
    except OSError:
        return False
    finally:
        os.close(folder)
    return True
