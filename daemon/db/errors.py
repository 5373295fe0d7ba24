"""What the database room raises instead of SQLAlchemy's exceptions."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import exc

from daemon.errors import HarnessError


class StorageUnavailable(HarnessError):  # noqa: N818 - a state of the world, named for what it is
    """The database cannot be reached, is locked, or dropped the connection. A commit may or may not have happened.

    Every write of the repository may be repeated by (job, fence): back off and call it again.
    """


class StorageRefused(HarnessError):  # noqa: N818 - as above
    """The database answered and said no: a constraint, a missing table, a value it cannot hold. Repeating does not
    help.

    A SQLite file that lacks a table is an exception: somebody is making it just now, so it counts as not available.
    """


class StorageDamaged(StorageRefused):
    """The file of SQLite's is not what it was when it was written. Nothing more is to be written into it."""


_LACKS_A_RIGHT = "42501"  # SQLSTATE insufficient_privilege
_DISK_FULL = "53100"
_NO_ROOM = "the disk of the database server is full: df -h, on its host; nothing is lost, and evald goes on by itself"
_NOT_TO_BE_WRITTEN = (
    "this user may not write its file, or the disk is read-only: ls -l, findmnt -T; where evald has become another"
    " user, give it the state folder: chown -R"
)
_DISK = "is its disk full, or failing? df -h, df -i and dmesg tell; nothing is lost"
_NOT_OPENED = (
    "beside it SQLite makes two files, also for those who only read: the disk may be full (df -h, df -i) or read-only"
    " (findmnt -T), or its folder another user's (ls -ld)"
)
_OF_SQLITE = {
    sqlite3.SQLITE_READONLY: _NOT_TO_BE_WRITTEN,
    sqlite3.SQLITE_FULL: _DISK,
    sqlite3.SQLITE_IOERR: _DISK,
    sqlite3.SQLITE_CANTOPEN: _NOT_OPENED,
}
_WHO_MAY = "it takes the role that evald runs as; for new tables (evald db upgrade) the one that owns the tables"
MENDING = (
    "evald doctor looks through it, and dmesg tells of a disk that only failed to read it: then start again. Else stop"
    " every daemon, then restore a backup, or move the file away: evald run makes a new one"
)
_PAUSES_S = (0.2, 0.8, 2.0)
_Answer = TypeVar("_Answer")
_TRANSIENT = (exc.OperationalError, exc.InterfaceError, exc.InternalError, exc.TimeoutError, exc.DisconnectionError)


def past_bad_reads(look: Callable[[], _Answer]) -> _Answer:
    """What `look` answers, which opens a database. Raises as it does, `StorageDamaged` when that is so a few seconds
    later as well: SQLite says the same of a file that a disk has failed to read once (EIO)."""
    for pause_s in _PAUSES_S:
        try:
            return look()
        except StorageDamaged:
            time.sleep(pause_s)
    return look()


@contextmanager
def translated(database: str) -> Iterator[None]:
    """Turn what SQLAlchemy raises inside the block into this room's errors. `database` names it for people, no
    password.
    """
    try:
        yield
    except _TRANSIENT as error:
        hint = _OF_SQLITE.get(_sqlite_code(error), "evald doctor checks the database")
        if _sqlstate(error) == _DISK_FULL:
            hint = _NO_ROOM
        cause = _cause(error)
        if (limited := _limit_met(_sqlite_code(error))) is not None:
            cause, hint = f"{cause}, and {limited[0]}", limited[1]
        raise StorageUnavailable(f"database {database} is not available: {cause}", hint=hint) from error
    except (exc.SQLAlchemyError, OverflowError) as error:  # a number beyond 64 bits: sqlite3 raises it bare
        text = f"database {database} refused: {_cause(error)}"
        if _sqlite_code(error) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise StorageDamaged(text, hint=MENDING) from error
        raise StorageRefused(text, hint=_WHO_MAY if _sqlstate(error) == _LACKS_A_RIGHT else None) from error


def _limit_met(code: int) -> tuple[str, str] | None:
    """What SQLite, which says neither, has probably met: a limit of the shell this was started from. With it where to
    look."""
    largest = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL) and largest != resource.RLIM_INFINITY:
        return f"no file may be larger than {largest} bytes here", "ulimit -f   shows how large a file may be"
    if code == sqlite3.SQLITE_CANTOPEN and not _may_open_more():
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        return f"{most} files are open, the most there may be", "ulimit -n   shows how many files a process may open"
    return None


def _may_open_more() -> bool:
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno != errno.EMFILE
    return True


def _sqlstate(error: Exception) -> str | None:
    return getattr(_original(error), "sqlstate", None)


def _sqlite_code(error: Exception) -> int:
    """Without what makes it more exact; 0 where it is not SQLite's."""
    code: int = getattr(_original(error), "sqlite_errorcode", 0)
    return code & 0xFF


def _original(error: Exception) -> BaseException:
    """What the driver said, where it was the driver."""
    return error.orig if isinstance(error, exc.DBAPIError) and error.orig is not None else error


def _cause(error: Exception) -> str:
    cause = _original(error)
    lines = str(cause).strip().splitlines()
    return lines[0] if lines else type(cause).__name__
