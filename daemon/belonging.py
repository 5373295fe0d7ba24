"""An inbox belongs to one database: daemons of two would each judge and publish every bundle in it.

Theory of operation: a database has an id, made with its tables. The first daemon that starts on an inbox writes it into
a file beside that inbox, where every host that shares the folder of both finds it; each later start compares. The file
appears whole by one hard link, which of several daemons that start at once exactly one makes, on NFS as well. A copy
of a database has the id of the original, so one that was restored is recognised. Nothing but a person removes the file.
"""

from __future__ import annotations

import errno
import shlex
import uuid
from pathlib import Path

from daemon import fsio, log
from daemon.errors import OperatorError
from daemon.paths import Paths

_CANNOT_WRITE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EOPNOTSUPP)


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
        f"this home belongs to another database: {place} names {found[:64]!r}, and {database_name} is {database_id}."
        " Both would judge every bundle",
        hint="set `database` (or `state`) as the other daemons of this inbox have it; where that database is gone for"
        f" good and none of its daemons runs, type: rm {shlex.quote(str(place))}",
    )


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
    except FileExistsError:  # another daemon was faster, or NFS says so of a link it has made
        return _read(place)
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        log.story("cannot tell whether another database shares this inbox", level=30, reason=error)
    return database_id
