"""Which entry of archive, rejected, quarantine or work belongs to a job: every name there ends in its id. And which
entry of the inbox, where anybody may have chosen the id."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from daemon import onemount
from daemon.intake import names
from daemon.paths import Paths

_ID_DIGITS = 32


def id_in(name: str) -> str:
    """What stands where a name has its job's id."""
    return name[-_ID_DIGITS:]


def settled(paths: Paths, job_id: str) -> Path | None:
    """Where the bundle of a job that was claimed lies now. None when it is nowhere, or no longer."""
    shelves = (paths.archive, paths.rejected, paths.quarantine, paths.work)
    return next((entry for shelf in shelves for entry in _entries(shelf, {job_id})), None)


def in_inbox(paths: Paths, job_id: str, submitter_uid: int | None) -> Path | None:
    """Where the bundle of an unfinished job lies in the inbox. Its owner must be the job's submitter, where that is
    known: others may have chosen the same id."""
    with suppress(FileNotFoundError), os.scandir(paths.inbox) as entries:
        for entry in entries:
            if names.split_job_id(entry.name)[1] == job_id and submitter_uid in (None, _owner(entry)):
                return Path(entry.path)
    return None


def _owner(entry: os.DirEntry[str]) -> int | None:
    """None: it has just been taken."""
    try:
        return onemount.status(entry.path).st_uid
    except OSError:
        return None


def put_away(paths: Paths, job_ids: Collection[str]) -> list[Path]:
    """The entries of ended jobs in archive, rejected and quarantine, and in work where a kill left them, in the order
    in which bundles move. The inbox is not looked at.
    """
    wanted = frozenset(job_ids)
    shelves = (paths.work, paths.archive, paths.rejected, paths.quarantine)
    return [entry for shelf in shelves for entry in _entries(shelf, wanted)]


def _entries(shelf: Path, job_ids: Collection[str]) -> Iterator[Path]:
    with suppress(FileNotFoundError), os.scandir(shelf) as entries:
        for entry in entries:
            if id_in(entry.name) in job_ids and entry.name[-_ID_DIGITS - 1 : -_ID_DIGITS] in ("@", "-"):
                yield Path(entry.path)
