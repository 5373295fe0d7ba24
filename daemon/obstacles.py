"""What keeps bundles from being claimed, and results from getting where people look for them, though a daemon runs:
disks, mounts, and whose folders they are. Seen from another process than the daemon's.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import disks, mounts, results
from daemon.config import Settings
from daemon.intake.owner import Owner
from daemon.paths import Paths

if TYPE_CHECKING:
    from daemon.db.daemon_records import DaemonRecord

_LATE_S = 120.0  # a few tries: one follows upon the other after `reconcile_s`


def hindrance(settings: Settings, daemons: Iterable[DaemonRecord]) -> str | None:
    """Why the daemons of this inbox that run on this host claim nothing, seen from another process; they themselves say
    so in their log only. None where there are no such daemons, and where this user may not look."""
    if not _any_here(settings, daemons):
        return None
    try:
        settings.paths.inbox.stat()
        if not settings.paths.work.exists():
            return f"{settings.paths.work} was removed: stop the daemon and start it again, which makes it anew"
        is_their_user = settings.paths.state.stat().st_uid == os.geteuid()
        return obstacle(settings) if is_their_user else _of_disks(settings)
    except PermissionError:
        return None
    except OSError as error:
        return f"{error.filename}: {error.strerror}"


def backlog(settings: Settings, daemons: Iterable[DaemonRecord]) -> str | None:
    """Why what those daemons have judged does not get where people look for it. It counts, and is neither lost nor
    judged again, but results wait in the outbox, or bundles in `work/`. None where these folders are another user's."""
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
    """Results that the database should have had long ago: it answers queries, but takes no changes."""
    ages_s = [time.time() - waiting.folder.stat().st_mtime for waiting in results.staged(paths)]
    late = sum(age_s > _LATE_S for age_s in ages_s)
    some = f"{late} result{'s' if late > 1 else ''} of more than {_LATE_S / 60:g} min ago"
    return f"{some} in {paths.outbox}: the database does not take them; evald doctor tries it" if late else None


def _any_here(settings: Settings, daemons: Iterable[DaemonRecord]) -> bool:
    """Whether one of `daemons` runs on this host, for this inbox."""
    here = (Owner.current().host, str(settings.paths.inbox))
    return any(daemon.is_there and (daemon.host, daemon.inbox) == here for daemon in daemons)


def obstacle(settings: Settings) -> str | None:
    """What keeps this user from claiming from an inbox that is there: too little room, how things are mounted, whose
    folders they are. Raises `OSError`."""
    paths = settings.paths
    # To move a bundle from the inbox to where claimed ones lie, and to judge it then.
    return _of_disks(settings) or _shut((paths.inbox, paths.work, paths.jobs, paths.outbox))


def _of_disks(settings: Settings) -> str | None:
    return disks.lack(settings) or _cannot_be_renamed(settings.paths)


def _shut(folders: Iterable[Path]) -> str | None:
    """The first of these folders that this user may not write into. A missing one does not count: it is made when it is
    needed."""
    for folder in folders:
        if folder.exists() and not os.access(folder, os.W_OK | os.X_OK, effective_ids=True):
            return f"user {os.geteuid()} may not write into {folder}"
    return None


def _cannot_be_renamed(paths: Paths) -> str | None:
    """Why no bundle can be moved out of the inbox, if mounts are the cause."""
    if os.statvfs(paths.inbox).f_flag & os.ST_RDONLY:
        return f"{paths.inbox} is mounted read-only"
    if apart := mounts.apart(folder for folder in paths.spool if folder.exists()):
        return f"{', '.join(map(str, apart))}: on another mount than the inbox, from which nothing can be renamed there"
    return None
