"""What the operating system refused, as people read it: the place, the reason, and what to type to see more."""

from __future__ import annotations

import errno
import os
import shlex
from pathlib import Path

from daemon.errors import EvaldError
from daemon.fsio import hint_of_room

_ANOTHER = "another evald is named with --home DIR or EVALD_HOME"
_STORAGE = "findmnt -T {place} and dmesg   tell of the disk or the file server"
_NO_TEMPORARY = "none of them takes a file: df -h, df -i, findmnt -T, ls -ld, ulimit -f; TMPDIR=DIR names another"
_HINTS = {
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ELOOP: "namei {place}   shows where its links lead",
    errno.EROFS: "findmnt -T {place}   shows how it is mounted: read-only",
    errno.EIO: _STORAGE,
    errno.ESTALE: _STORAGE,
}
_LIMITED = (errno.EMFILE, errno.EAGAIN, errno.EFBIG)


def explained(error: OSError) -> EvaldError:
    """The error, with the place when it names one."""
    reason = error.strerror or str(error)
    place = _place(error)
    if place is None and isinstance(error, FileNotFoundError) and _is_nowhere():
        return EvaldError("the current folder has been removed", hint="go to another, for example by typing: cd")
    return EvaldError(f"{place}: {reason}" if place else reason, hint=hint(error))


def limit(error: OSError) -> str | None:
    """The command that shows which limit was met, in the same shell. Whoever was refused for another reason may have
    other advice."""
    return hint_of_room(error) if error.errno in _LIMITED else None


def hint(error: OSError) -> str | None:
    """What to type, or to name instead."""
    place = _place(error)
    if place is None:
        return hint_of_room(error) or (_NO_TEMPORARY if "temporary directory" in str(error) else None)
    if isinstance(error, PermissionError):
        return f"ls -ld {_quoted(_closed(place))}   shows whom it lets in; {_ANOTHER}"
    if isinstance(error, NotADirectoryError) and (found := file_above(place)) is not None:
        return f"{found}; {_ANOTHER}"
    if isinstance(error, FileExistsError) and (found := in_the_way(place)) is not None:
        return f"{found}; {_ANOTHER}"
    if error.errno in _HINTS:
        return _HINTS[error.errno].format(place=_quoted(place))
    return hint_of_room(error) or "which folders are used, and what set them, says: evald config"


def _is_nowhere() -> bool:
    try:
        Path.cwd()
    except FileNotFoundError:
        return True
    return False


def _place(error: OSError) -> Path | None:
    name = error.filename
    if not name:
        return None
    return Path(os.fsdecode(name) if isinstance(name, str | bytes) else str(name))


def _closed(place: Path) -> Path:
    """The first folder above `place` that this user may not enter; else what is there of it."""
    for folder in reversed(place.absolute().parents):
        if not os.access(folder, os.X_OK, effective_ids=True):
            return folder
    return place if os.path.lexists(place) else place.parent


def file_above(place: Path) -> str | None:
    """A sentence about a file, or a dead link, that stands above `place`; None if there is none, or if that may not be
    seen."""
    return next(filter(None, map(in_the_way, place.absolute().parents)), None)


def in_the_way(place: Path) -> str | None:
    """A sentence about what stands at `place` where a folder is wanted; None if there is nothing, or if that may not be
    seen."""
    if os.path.islink(place) and not os.path.exists(place):  # noqa: PTH110, PTH114 - Path raises where it is closed
        return f"{place} is a link to {os.readlink(place)}, which is not there (not mounted?)"  # noqa: PTH115
    return f"{place} is a file, where a folder is wanted" if os.path.isfile(place) else None  # noqa: PTH113


def _quoted(place: Path) -> str:
    return shlex.quote(str(place))
