"""Forgetting jobs that ended long ago: their files, then their rows; jobs that were given back long ago; daemons that
are gone for good; and what killed clients left half-written in the inbox.

Theory of operation: the database names the jobs (finished or broken, ended long enough ago, not among the best). Their
files go first and their rows last. So a kill in between leaves rows that name the jobs again at the next cleanup, and
never files that nobody knows. For the same reason a file that cannot be removed holds up the row of its own job, and
nothing else. What waits or is being judged is not touched, nor a job whose bundle a daemon has yet to put away.

Results may be of jobs that the database does not know, because it was restored from an older copy, or is another one
now. These results may be all that is left of the jobs, or another evald's that shows its results in the same folder.
They go only where that is asked for, by their age; only where the inbox belongs to this database; and never those of a
bundle that waits, because they keep it from being judged twice.

A withdrawn job has no files: its bundle went back to the inbox. If it lies there under its plain name, the next claim
makes a new job of it, and nothing leads to this one any more. It goes once nothing has happened to it for as long.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from daemon import fsio, mounts, onemount, results
from daemon.callers import NOBODY, Callers
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonState
from daemon.db.history import History
from daemon.db.repository_cleanup import cleanup, forget_withdrawn
from daemon.db.repository_daemons import DaemonRepository
from daemon.intake import names, shelves
from daemon.intake.owner import Owner, WorkName
from daemon.lifecycle import JobState
from daemon.paths import Paths

_LOOKED_AT = 20
_SHOWN = timedelta(days=1)
_ENDED = (JobState.FINISHED, JobState.BROKEN)


@dataclass(frozen=True)
class Stuck:
    """A file or folder that could not be removed, and what the system said."""

    file: str
    reason: str


@dataclass(frozen=True)
class Removed:
    """What went, or would go.

    - `evaluations`: cases of these jobs in the database
    - `kept_best`: how many jobs stay because they are among the best
    - `forgotten`: of how many jobs that the database does not know there are results as old
    - `not_removed`: what could not be removed; its jobs stay as well
    """

    job_ids: tuple[str, ...]
    evaluations: int
    kept_best: int
    files: tuple[str, ...]
    forgotten: int = 0
    not_removed: tuple[Stuck, ...] = ()


NOTHING = Removed(job_ids=(), evaluations=0, kept_best=0, files=())


def clean(
    paths: Paths,
    database: Database,
    older_than: timedelta,
    keep_best: int,
    *,
    dry_run: bool,
    forgotten: bool = False,
    callers: Callers = NOBODY,
) -> Removed:
    """Remove what ended more than `older_than` ago, except the fastest `keep_best` passed jobs of each problem on each
    device, of each submitter and of each of `callers`. Also `forgotten` results, if they are to go.

    With `dry_run` only say what would go.
    """
    history = History(database)
    if not dry_run:
        DaemonRepository(database).forget(_gone(history))
    withdrawn = forget_withdrawn(database, older_than, _waiting(paths), dry_run=dry_run)
    plan = cleanup(database, older_than, keep_best, callers=callers, dry_run=True)
    if in_hand := _in_hand(paths).intersection(plan.job_ids):
        going = set(plan.job_ids) - in_hand
        plan = cleanup(database, older_than, keep_best, only=going, callers=callers, dry_run=True)
    files = _files(paths, plan.job_ids) | dict.fromkeys(_abandoned(paths, older_than), "")
    unknown = _forgotten(paths, history, older_than)
    if forgotten:
        files |= dict.fromkeys(_files(paths, unknown), "")
    if dry_run:
        named = tuple(map(str, files))
        return Removed(plan.job_ids + withdrawn, plan.evaluations, plan.kept_best, named, len(unknown))
    linked = results.linked(paths, set(plan.job_ids))
    reasons = {file: reason for file in files if (reason := _remove(file)) is not None}
    going = set(plan.job_ids) - {files[file] for file in reasons}
    done = cleanup(database, older_than, keep_best, only=going, callers=callers)
    results.mend_names(paths, lambda link, uid: _newest(paths, history, linked.get(link, link), uid))
    gone = tuple(str(file) for file in files if file not in reasons)
    stuck = tuple(Stuck(str(file), reason) for file, reason in reasons.items())
    return Removed(done.job_ids + withdrawn, done.evaluations, done.kept_best, gone, len(unknown), stuck)


def _gone(history: History) -> frozenset[str]:
    """Daemons that ended, or gave no sign of life, more than a day ago. A daemon forgets those of its own host when it
    starts; but each container is another host."""
    silent = (daemon for daemon in history.daemons() if daemon.is_missing or daemon.state is DaemonState.STOPPED)
    before = datetime.now(UTC) - _SHOWN
    return frozenset(daemon.owner for daemon in silent if daemon.seen_at < before)


def _newest(paths: Paths, history: History, name: str, uid: int | None) -> Path | None:
    """The folder of the newest existing result of `name`; of the user `uid`, if given."""
    for job in history.jobs(name=name, state=_ENDED, submitter_uid=uid, limit=_LOOKED_AT).jobs:
        for folder in results.released(paths, job.job_id):
            return folder
    return None


def _waiting(paths: Paths) -> frozenset[str]:
    """The job ids at the end of names in the inbox and in `work/`, read in the order in which bundles move."""
    return frozenset(shelves.id_in(entry.name) for shelf in (paths.inbox, paths.work) for entry in shelf.iterdir())


def _in_hand(paths: Paths) -> frozenset[str]:
    """The job ids of what daemons that may live have in `work/`: they may be about to put it away."""
    here = Owner.current()
    parsed = (WorkName.parse(entry.name) for entry in paths.work.iterdir())
    return frozenset(one.job_id for one in parsed if one is not None and one.owner.may_live(here))


def _files(paths: Paths, job_ids: Collection[str]) -> dict[Path, str]:
    """Result folders and bundles of ended jobs, each with the id of its job."""
    wanted = frozenset(job_ids)
    months = results.months(paths) if wanted else ()
    found = {folder: folder.name for month in months for folder in month.iterdir() if folder.name in wanted}
    found |= {waiting.folder: waiting.job_id for waiting in results.staged(paths) if waiting.job_id in wanted}
    return found | {entry: shelves.id_in(entry.name) for entry in shelves.put_away(paths, wanted)}


def _forgotten(paths: Paths, history: History, older_than: timedelta) -> frozenset[str]:
    """The ids of results whose job the database does not know, and that were written so long ago, at least a day. None
    where the inbox belongs to another database, or it is not known to which."""
    try:
        if paths.database_id.read_text("utf-8", "replace").strip() != history.database_id():
            return frozenset()
    except OSError:
        return frozenset()
    before_s = (datetime.now(UTC) - max(older_than, _SHOWN)).timestamp()
    old = {
        folder.name
        for month in results.months(paths)
        for folder in month.iterdir()
        if names.JOB_ID.fullmatch(folder.name) and _written_s(folder) < before_s
    }
    waiting = _waiting(paths)
    return frozenset(old - history.whereabouts(old).keys() - waiting)


def _written_s(result: Path) -> float:
    """Of what is no result, or is just going: now."""
    try:
        return (result / results.RESULT_FILE).stat().st_mtime
    except OSError:
        return datetime.now(UTC).timestamp()


def _abandoned(paths: Paths, older_than: timedelta) -> list[Path]:
    """What clients that were killed had begun to write into the inbox."""
    before_s = (datetime.now(UTC) - max(older_than, _SHOWN)).timestamp()
    found = []
    for draft in paths.inbox.glob(f"{names.DRAFT_PREFIX}*{names.DRAFT_SUFFIX}"):
        with suppress(OSError):  # it is being renamed just now
            if onemount.status(draft).st_ctime < before_s:
                found.append(draft)
    return found


def _remove(file: Path) -> str | None:
    """None: it is gone. Else why it is not, or not all of it."""
    if mounts.is_any_below(file):  # by its sender, who need not answer: and nothing could be removed below it
        return onemount.MOUNTED
    try:
        fsio.remove_tree(file)
    except OSError as error:
        return error.strerror or str(error)
    return None
