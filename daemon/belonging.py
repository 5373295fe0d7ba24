"""An inbox belongs to one database: daemons of two would each judge and publish every bundle in it.

Theory of operation: a database has an id, made with its tables. The first daemon that starts on an inbox writes it into
a file beside that inbox, where every host that shares the folder of both finds it. Each later start compares. The file
appears whole, by one hard link: if several daemons start at once, exactly one makes it, on NFS as well. A copy of a
database has the id of the original, so a restored one is recognised. Nothing but a person removes the file.

On a disk that one host has for itself, the kernel knows who is there. Each daemon holds a lock, which daemons of one
database share. Whoever finds nobody there may come with another database.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shlex
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daemon import fsio, log
from daemon.errors import HarnessError, OperatorError
from daemon.paths import Paths

_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP)
_CANNOT_LOCK = (errno.ENOLCK, errno.EOPNOTSUPP, errno.EBADF)
_LONGEST_ID = 64
_TRIES, _PAUSE_S = 50, 0.01  # somebody may be about to write


def require_own(paths: Paths, database_id: str, database_name: str) -> None:
    """Raise `OperatorError` when the inbox belongs to another database; when it belongs to none, it is this one's now.

    Where evald may not write beside the inbox, that is logged and nothing is guarded. `database_name` is for people.
    Raises `OSError`.
    """
    place = paths.database_id
    try:
        found = _read(place)
    except FileNotFoundError:
        found = _write(place, database_id)
    if found == database_id:
        return
    raise OperatorError(
        f"this home belongs to another database: {place} names {found[:_LONGEST_ID]!r}, and {database_name} is"
        f" {database_id}. Both would judge every bundle",
        hint="set `database` (or `state`) as the other daemons of this inbox have it; where that database is gone for"
        f" good and none of its daemons runs, type: rm {shlex.quote(str(place))}",
    )


def require_bundles(paths: Paths, database_id: str, database_name: str, count_unfinished: Callable[[], int]) -> None:
    """Raise `HarnessError` where the inbox is most likely not mounted: jobs without bundles would end as our fault.

    That is so where the database has unfinished jobs, this host has seen the inbox before, and neither their bundles
    are there nor the file that a daemon writes beside every inbox. `count_unfinished` is called only if both are
    missing. Raises `OSError`.
    """
    place, work = paths.database_id, paths.work
    if not _has_seen(paths) or place.exists() or (work.is_dir() and any(work.iterdir())):
        return
    if not (unfinished := count_unfinished()):
        return
    raise HarnessError(
        f"{database_name} has {unfinished} unfinished job{'s' if unfinished > 1 else ''}, and nothing of them is here:"
        f" {work} is empty and {place} is missing. A file system may not be mounted",
        hint="mount it, or set `inbox` as the other daemons of this database have it; where those bundles are gone for"
        f" good, type: echo {database_id} > {shlex.quote(str(place))}",
    )


def remember(paths: Paths) -> None:
    """From now on this host has seen the inbox. Raises `OSError`."""
    if not _has_seen(paths):
        fsio.write_atomic(paths.seen_inbox, os.fsencode(paths.inbox))


def _has_seen(paths: Paths) -> bool:
    try:
        return paths.seen_inbox.read_bytes() == os.fsencode(paths.inbox)
    except FileNotFoundError:
        return False


@contextmanager
def held(paths: Paths, database_id: str, database_name: str) -> Iterator[None]:
    """For an inbox that no other host shares: it is this database's inbox as long as the block runs.

    Raises `OperatorError` where daemons of another database are at work, and `OSError`. Where evald may not write
    beside the inbox, nothing is guarded.
    """
    place = paths.database_id
    try:
        fd = _opened(place)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        _say_unguarded(error)
        yield
        return
    try:
        if not _is_ours(fd, database_id):
            found = os.pread(fd, _LONGEST_ID, 0).decode("utf-8", "replace").strip()
            raise OperatorError(
                f"daemons with another database are at work on this inbox: {place} names {found!r}, and"
                f" {database_name} is {database_id}. Both would judge every bundle",
                hint="set `database` (or `state`) as they have it, or stop them first: systemctl stop evald, or Ctrl-C",
            )
        yield
    finally:
        os.close(fd)


def _opened(place: Path) -> int:
    """The file, made if it is missing. A file of another user can be read and locked all the same."""
    try:
        return os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:
        return os.open(place, os.O_RDONLY | os.O_CLOEXEC)


def _is_ours(fd: int, database_id: str) -> bool:
    """Whether the file names this database. If so, a lock tells others from now on."""
    wanted = f"{database_id}\n".encode()
    try:
        for _ in range(_TRIES):
            if fsio.try_lock(fd, fcntl.LOCK_SH):
                if os.pread(fd, _LONGEST_ID, 0) == wanted:
                    return True
                if fsio.try_lock(fd, fcntl.LOCK_EX):  # nobody is there
                    os.pwrite(fd, wanted, 0)  # first, because this fails where the file is another user's
                    os.ftruncate(fd, len(wanted))
                    os.fsync(fd)
                    continue
            time.sleep(_PAUSE_S)
    except OSError as error:
        if error.errno not in _CANNOT_LOCK:
            raise
        _say_unguarded(error)
        with suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_UN)  # or the next one believes that we are at work with the database it names
        return True
    return False


def _say_unguarded(reason: OSError) -> None:
    log.story("cannot tell whether another database shares this inbox", level=30, reason=reason)


def _read(place: Path) -> str:
    return place.read_text("utf-8", "replace").strip()


def _write(place: Path, database_id: str) -> str:
    """What the file says when this is done."""
    prepared = place.with_name(f".{place.name}.{uuid.uuid4().hex}.tmp")
    try:
        fsio.write_new(prepared, f"{database_id}\n".encode())
        try:
            place.hardlink_to(prepared)
            fsio.fsync_dir(place.parent)
        finally:
            prepared.unlink()
    except FileExistsError:  # another daemon was faster; or NFS says so although it made the link
        return _read(place)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        _say_unguarded(error)
    return database_id
