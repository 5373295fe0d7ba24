"""Whether there is room to judge and to keep results: on the disks of one home, in bytes and in files.

A disk may refuse what it says it has room for: a quota is used up, it is dying, a folder belongs to somebody else. So
after a write that failed it is tried: while no file can be written, that was no fault of what was to be written, and
nothing is begun.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import mounts, results
from daemon.config import Settings
from daemon.intake.owner import Owner
from daemon.paths import Paths

if TYPE_CHECKING:
    from daemon.db.records import DaemonRecord

_FEWEST_FILES = 1000
_LATE_S = 120.0  # a few tries: one follows upon the other after `reconcile_s`
_TRIAL_BYTES = 64 * 1024


def lack(settings: Settings) -> str | None:
    """What a disk lacks, in words; None where there is room. Raises `OSError`."""
    paths = settings.paths
    for folder in (paths.state, paths.results, paths.work):
        if (lacking := lack_of(os.statvfs(folder), settings.min_free_bytes)) is not None:
            return f"{folder} {lacking}"
    return None


def hindrance(settings: Settings, daemons: Iterable[DaemonRecord]) -> str | None:
    """Why daemons of this inbox that run on this host claim nothing, seen from another process: they themselves tell
    only their log. None where there are none, and where this user may not look.
    """
    if not _any_here(settings, daemons):
        return None
    try:
        settings.paths.inbox.stat()
        is_their_user = settings.paths.state.stat().st_uid == os.geteuid()
        return obstacle(settings) if is_their_user else _of_disks(settings)
    except PermissionError:
        return None
    except OSError as error:
        return f"{error.filename}: {error.strerror}"


def backlog(settings: Settings, daemons: Iterable[DaemonRecord]) -> str | None:
    """Why what those daemons have judged does not get where people look for it: it counts, and is neither lost nor
    judged again, but results wait in the outbox, or bundles in `work/`. None where this user is not theirs."""
    paths = settings.paths
    try:
        if not _any_here(settings, daemons) or paths.state.stat().st_uid != os.geteuid():
            return None
        if (shut := _shut(results.shown_in(paths))) is not None:
            return f"results stay in {paths.outbox}: {shut}"
        if (shut := _shut((paths.archive, paths.rejected, paths.quarantine))) is not None:
            return f"judged bundles stay in {paths.work}: {shut}"
        return _late(paths)
    except OSError:  # that somebody cannot look is told with what hinders claims
        return None


def _late(paths: Paths) -> str | None:
    """Results that the database should have had long ago: it answers questions, and takes nothing."""
    ages_s = [time.time() - waiting.folder.stat().st_mtime for waiting in results.staged(paths)]
    late = sum(age_s > _LATE_S for age_s in ages_s)
    some = f"{late} result{'s' if late > 1 else ''} of more than {_LATE_S / 60:g} min ago"
    return f"{some} in {paths.outbox}: the database does not take them; evald doctor tries it" if late else None


def _any_here(settings: Settings, daemons: Iterable[DaemonRecord]) -> bool:
    """Whether one of `daemons` runs on this host, for this inbox."""
    here = (Owner.current().host, str(settings.paths.inbox))
    return any(daemon.is_there and (daemon.host, daemon.inbox) == here for daemon in daemons)


def obstacle(settings: Settings) -> str | None:
    """What lies between an inbox that is there and a claim by this user: too little room, how things are mounted, whose
    folders they are. Raises `OSError`."""
    paths = settings.paths
    # To move a bundle from the inbox to where claimed ones lie, and to judge it then.
    return _of_disks(settings) or _shut((paths.inbox, paths.work, paths.jobs, paths.outbox))


def _of_disks(settings: Settings) -> str | None:
    return lack(settings) or _cannot_be_renamed(settings.paths)


def _shut(folders: Iterable[Path]) -> str | None:
    """The first of these that this user may not write into; what is missing is made when it is needed."""
    for folder in folders:
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            return f"user {os.geteuid()} may not write into {folder}"
    return None


def _cannot_be_renamed(paths: Paths) -> str | None:
    """Why no bundle can be moved out of the inbox, where it is how things are mounted."""
    if os.statvfs(paths.inbox).f_flag & os.ST_RDONLY:
        return f"{paths.inbox} is mounted read-only"
    if apart := mounts.apart(folder for folder in paths.spool if folder.exists()):
        return f"{', '.join(map(str, apart))}: on another mount than the inbox, from which nothing can be renamed there"
    return None


class Room:
    """The room of one home, as a daemon found it. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_doubt = False

    def lack(self) -> str | None:
        """As `lack`; after a write that failed also what a trial of all folders says, until they take files again.
        Raises `OSError`."""
        found = lack(self._settings)
        if found is not None or not self._in_doubt:
            return found
        refusal = refusal_of(self._settings)
        self._in_doubt = refusal is not None
        return refusal

    def lack_after_fault(self) -> str | None:
        """Why a file could not be written, as far as it was not that file. None: others can be."""
        self._in_doubt = True
        try:
            return self.lack()
        except OSError as error:
            return str(error)


def refusal_of(settings: Settings) -> str | None:
    """What a folder says when a small file is written there; None where all take it."""
    paths = settings.paths
    for folder in (paths.jobs, paths.outbox, paths.work):
        try:
            _try(folder)
        except OSError as error:
            return f"{folder} takes no files: {error.strerror or error}"
    return None


def _try(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as trial:  # without a name: a kill leaves nothing
        trial.write(bytes(_TRIAL_BYTES))
        trial.flush()
        os.fsync(trial.fileno())


def lack_of(disk: os.statvfs_result, wanted_bytes: int) -> str | None:
    """The same of one disk."""
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < wanted_bytes:
        return f"has {free_bytes >> 20} MiB free, {wanted_bytes >> 20} are wanted"
    if disk.f_files and disk.f_favail < _FEWEST_FILES:  # some file systems count none
        return f"has room for {disk.f_favail} more files, {_FEWEST_FILES} are wanted"
    return "is read-only" if disk.f_flag & os.ST_RDONLY else None
