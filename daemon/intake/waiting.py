"""What lies in the inbox, for people: names, whether each is complete, and why not. Claims and remembers nothing."""

from __future__ import annotations

import heapq
import os
import stat
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from daemon import onemount
from daemon.errors import HarnessError
from daemon.intake import names, tree
from daemon.intake.spool import moment


@dataclass(frozen=True)
class WaitingEntry:
    """One entry. `name`: as people gave it. `job_id`: if its sender chose one. `reason`: why it is not taken, or
    empty."""

    entry: str
    name: str
    job_id: str | None
    since: datetime
    reason: str
    is_complete: bool


@dataclass(frozen=True)
class Inbox:
    """`entries`: the longest waiting, or the latest; `total`: how many wait; `ignored`: hidden and temporary names."""

    entries: tuple[WaitingEntry, ...]
    total: int
    ignored: int


def look(
    inbox: Path, *, limit: int = 20, name: str | None = None, newest: bool = False, ids_alone: bool = False
) -> Inbox:
    """Look at `inbox`. With `name`, only at entries of that bundle or entry name, or of that job id; with `ids_alone`
    only of the id. A missing folder is an empty inbox.

    `limit` entries are described: the longest waiting, or with `newest` the latest, latest first. Raises `HarnessError`
    when it cannot be listed.
    """
    found: list[tuple[float, str]] = []
    ignored = 0
    try:
        with os.scandir(inbox) as entries:
            for entry in entries:
                if names.is_ignored(entry.name):
                    ignored += 1
                elif name is None or name in _called(entry.name, ids_alone=ids_alone):
                    found.append((_changed_s(entry), entry.name))
    except FileNotFoundError:
        return Inbox((), 0, 0)
    except OSError as error:
        raise HarnessError(f"cannot list {inbox}: {error.strerror or error}") from error
    first = heapq.nlargest(limit, found) if newest else heapq.nsmallest(limit, found)
    evald = _taker(inbox)
    return Inbox(tuple(_entry(inbox, entry, changed_s, evald) for changed_s, entry in first), len(found), ignored)


def _called(entry: str, *, ids_alone: bool) -> tuple[str | None, ...]:
    bare_name, job_id = names.split_job_id(entry)
    return (job_id,) if ids_alone else (entry, bare_name, job_id, _stem(entry))


def _stem(entry: str) -> str:
    bare = names.bundle_name(entry)
    return bare.removesuffix(names.ending_of(bare))


def _changed_s(entry: os.DirEntry[str]) -> float:
    try:
        return onemount.status(entry.path).st_ctime
    except OSError:
        return 0.0


def _taker(inbox: Path) -> os.stat_result | None:
    """The user and group with which evald takes bundles: the owner of the folder where it keeps them. None where evald
    never was, or where that may not be seen."""
    try:
        return inbox.with_name("work").stat()
    except OSError:
        return None


def _entry(inbox: Path, entry: str, changed_s: float, evald: os.stat_result | None) -> WaitingEntry:
    bare, job_id = names.split_job_id(entry)
    path = inbox / entry
    hindrance = ""
    try:
        status = onemount.status(path)
        lacking = _lacking(path, status.st_mode)
        hindrance = _why_unmovable(status, evald)
    except FileNotFoundError:
        lacking = "just taken"
    except OSError as error:
        lacking = f"cannot be read: {error.strerror or error}"
    reason = lacking or hindrance
    return WaitingEntry(entry, names.readable(bare), job_id, moment(changed_s), reason, is_complete=not lacking)


def _lacking(path: Path, mode: int) -> str:
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        return "neither a file nor a folder: it will be rejected"
    return tree.look_at(path, mode).reason


def _why_unmovable(status: os.stat_result, evald: os.stat_result | None) -> str:
    """Why a folder cannot be claimed: to move it elsewhere is to write into it. Access control lists are not known
    here."""
    if evald is None or not stat.S_ISDIR(status.st_mode) or status.st_mode & stat.S_IWOTH:
        return ""
    if evald.st_uid in (0, status.st_uid) or (status.st_mode & stat.S_IWGRP and status.st_gid == evald.st_gid):
        return ""
    return f"user {status.st_uid}'s, and user {evald.st_uid} (evald) may not move it: chmod o+w, or use evald submit"
