"""Durable file operations. The only module that renames.

Order of a durable publish: write, fsync the file, rename, fsync the folder. Measured with power cuts: this order lost
nothing in 1,510 acknowledged writes; leaving out the last step lost some, leaving out all of them lost everything.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNFINISHED = ".*.tmp"  # what `write_atomic` leaves when it is killed
_NO_ROOM = {
    errno.ENOSPC: "is the disk full? df -h, df -i",
    errno.EDQUOT: "is the disk full? df -h, df -i",
    errno.EFBIG: "ulimit -f   shows how large a file may be",
    errno.EMFILE: "ulimit -n   shows how many files a process may open",
    errno.EAGAIN: "ulimit -u   shows how many processes and threads a user may have",
}
_LIBC = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_FOLDER_ITSELF = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def fsync_dir(folder: Path) -> None:
    """Make renames and creations in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def try_lock(descriptor: int, how: int = fcntl.LOCK_EX) -> bool:
    """Lock it (flock(2)) if that can be done at once; False where somebody else has it. Raises `OSError` where nothing
    can be locked."""
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def rename(source: Path, target: Path, *, durably: bool = True) -> None:
    """Rename. `target` must be a unique name: an empty folder there would be replaced without a word.

    Not `durably`: without waiting for the disk, for what a start after a power cut makes anew, or finds where it was
    and moves again. Raises `FileNotFoundError` when `source` is gone (somebody else won).
    """
    os.rename(source, target)  # noqa: PTH104 - this is the place
    if not durably:
        return
    fsync_dir(target.parent)
    if source.parent != target.parent:
        fsync_dir(source.parent)


def rename_exclusive(source: Path, target: Path) -> None:
    """Rename durably, only when nothing is at `target`: one atomic step that never replaces anything.

    Raises `FileExistsError` when something is there, `FileNotFoundError` when `source` is gone, and `OSError` with
    errno EOPNOTSUPP where the file system cannot promise this (NFS): fall back to a unique name and `rename`.
    """
    if _LIBC.renameat2(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) != 0:
        code = ctypes.get_errno()
        code = errno.EOPNOTSUPP if code in (errno.EINVAL, errno.ENOSYS) else code
        raise OSError(code, os.strerror(code), str(source), None, str(target))
    fsync_dir(target.parent)
    if source.parent != target.parent:
        fsync_dir(source.parent)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write `data` to `path` so that a reader sees the old content or all of the new, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write_new(temporary, data, mode=mode)
        os.replace(temporary, path)  # noqa: PTH105 - this is the place
        fsync_dir(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Create `path`, which must not exist, with `data` and fsync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def point_at(link: Path, target: Path) -> None:
    """Make the symbolic link `link` point at `target` (relative to the link's folder), replacing what it pointed at.

    Does not wait for the disk. If a power cut leaves it half done, the temporary name is the one that the next call
    uses, so nothing is left for ever.
    """
    temporary = link.with_name(f".{link.name[:100]}.{target.name[:100]}.tmp")
    text = os.path.relpath(target, link.parent)
    temporary.unlink(missing_ok=True)
    while True:
        with suppress(FileExistsError):  # somebody does the same at this moment
            temporary.symlink_to(text)
        with suppress(FileNotFoundError):  # and was quicker
            os.replace(temporary, link)  # noqa: PTH105 - this is the place
            return
        if link.is_symlink() and str(link.readlink()) == text:
            return


def remove_tree(folder: Path) -> None:
    """Remove `folder` and all below it, however deep; already gone is fine.

    Never follows links, even if somebody puts one in place of what is being removed: the link itself is removed.
    """
    while True:
        try:
            _remove(folder)
        except FileNotFoundError:
            if os.path.lexists(folder):  # somebody else removes it too: something inside was gone
                continue
        return


def _remove(folder: Path) -> None:
    if not stat.S_ISDIR(folder.lstat().st_mode):
        folder.unlink()
        return
    try:
        shutil.rmtree(folder)
    except (FileNotFoundError, PermissionError):
        raise  # the other way would not come further, and leave folders under other names
    except (RecursionError, OSError):
        _remove_deep(folder)


def _remove_deep(folder: Path) -> None:
    """Lift every inner folder to the top before emptying it: no path grows long and nothing recurses."""
    top = os.open(folder, _FOLDER_ITSELF)
    try:
        waiting = os.listdir(top)  # noqa: PTH208 - of a descriptor
        while waiting:
            waiting += _lift_folders(top, waiting.pop())
    finally:
        os.close(top)
    folder.rmdir()


def _lift_folders(top: int, name: str) -> list[str]:
    """Remove one entry of the folder `top`. The folders that it held lie in `top` then; their names there are
    returned."""
    try:
        inner = os.open(name, _FOLDER_ITSELF, dir_fd=top)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):  # a file, a link
            raise
        os.unlink(name, dir_fd=top)
        return []
    lifted = []
    try:
        for below in os.listdir(inner):  # noqa: PTH208
            try:
                os.unlink(below, dir_fd=inner)
            except IsADirectoryError:
                lifted.append(f".{uuid.uuid4().hex}")
                os.rename(below, lifted[-1], src_dir_fd=inner, dst_dir_fd=top)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)
    return lifted


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """Yield a temporary folder beside `final`. When the block ends well, all of it is fsynced and it is renamed to
    `final`.

    On an exception nothing is left; after a kill `.tmp-FINAL-…` is. `final` must not exist. The folder above it must:
    if that is gone, so is the disk that was mounted there.
    """
    temporary = final.with_name(f".tmp-{final.name}-{uuid.uuid4().hex}")
    temporary.mkdir()
    try:
        yield temporary
        for folder, _, files in os.walk(temporary, topdown=False):
            for entry in (Path(folder, name) for name in files):
                if entry.is_file() and not entry.is_symlink():
                    _fsync_file(entry)
            fsync_dir(Path(folder))
        rename(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def hint_of_room(error: OSError) -> str | None:
    """Where to look after an error for want of room, or of something else that is limited."""
    return _NO_ROOM.get(error.errno or 0)
