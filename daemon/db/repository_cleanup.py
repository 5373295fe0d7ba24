"""Forgetting jobs, in short transactions, so that a year of results does not stop the daemon while it goes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, CursorResult, Select, and_, delete, func, literal, select, union

from daemon.batches import batched
from daemon.callers import NOBODY, Callers
from daemon.db import ranking
from daemon.db.connection import Database
from daemon.db.models import Bundle, Environment, Evaluation, Event, Job, had_no_reference
from daemon.db.records import CleanupReport
from daemon.db.sqlfunctions import now
from daemon.lifecycle import JobState
from daemon.verdict import Verdict

DELETE_BATCH = 200
COUNT_BATCH = 5000
_DOUBTS = 10  # failed runs kept of one bundle, however often it is sent


def cleanup(
    database: Database,
    older_than: timedelta,
    keep_best: int = 1,
    *,
    only: Collection[str] | None = None,
    callers: Callers = NOBODY,
    dry_run: bool = False,
) -> CleanupReport:
    """Forget finished and broken jobs that ended more than `older_than` ago; never one that is not finished.

    What stays: the fastest `keep_best` passed jobs of each problem (of each name where there is no problem) on each
    device, of each submitter and of each of `callers`; of each bundle that has passed and stays, the last few runs that
    failed, because a leaderboard tells of them; and all that is not among `only`, if that is given.

    Several cleanups at once are harmless, and each job is in the report of one of them. When one is interrupted,
    calling it again goes on. Names the jobs without deleting any when `dry_run`.
    """
    with database.read() as connection:
        cutoff = connection.execute(select(now(-older_than.total_seconds()))).scalar_one()
        best = set(connection.scalars(_best(keep_best, callers)))
        doubts = set(connection.scalars(_doubts(keep_best, callers, cutoff)))
        ended = connection.scalars(select(Job.id).where(_is_old(cutoff)).order_by(Job.finished_at, Job.id)).all()
    unranked = [job_id for job_id in ended if job_id not in best]
    victims = [job_id for job_id in unranked if job_id not in doubts and (only is None or job_id in only)]
    gone: list[str] = []
    evaluations = 0
    step = COUNT_BATCH if dry_run else DELETE_BATCH
    for batch in batched(victims, step):
        job_ids, count = _count(database, batch) if dry_run else _delete(database, batch, cutoff)
        gone.extend(job_ids)
        evaluations += count
    return CleanupReport(tuple(gone), evaluations, len(ended) - len(unranked), dry_run)


def forget_withdrawn(
    database: Database, older_than: timedelta, waiting: Collection[str], *, dry_run: bool = False
) -> tuple[str, ...]:
    """Forget withdrawn jobs to which nothing has happened for `older_than`. Returns which.

    Those of `waiting` stay: their bundle is where a claim finds it under this very id. A bundle that is claimed in the
    meantime revives its job, which then stays, or makes it anew. Names the jobs without deleting any when `dry_run`.
    """
    with database.read() as connection:
        cutoff = connection.execute(select(now(-older_than.total_seconds()))).scalar_one()
        left = connection.scalars(select(Job.id).where(*_was_left(cutoff)).order_by(Job.created_at, Job.id)).all()
    victims = [job_id for job_id in left if job_id not in waiting]
    if dry_run:
        return tuple(victims)
    gone: list[str] = []
    for some in batched(victims, DELETE_BATCH):
        with database.write() as connection:
            batch = select(Job.id).where(Job.id.in_(some), *_was_left(cutoff))
            job_ids = connection.scalars(batch.with_for_update(skip_locked=True)).all()
            _delete_jobs(connection, job_ids)
        gone.extend(job_ids)
    return tuple(gone)


def _was_left(cutoff: datetime) -> tuple[ColumnElement[bool], ...]:
    """Withdrawn, and nothing has happened to it since `cutoff`."""
    lately = select(Event.id).where(Event.job_id == Job.id, Event.at >= cutoff).exists()
    return (Job.state == JobState.WITHDRAWN, Job.created_at < cutoff, ~lately)


def _is_old(cutoff: datetime) -> ColumnElement[bool]:
    """Finished or broken before `cutoff`: no other job has a time of finish."""
    return Job.finished_at < cutoff


def _best(keep_best: int, callers: Callers) -> Select[str]:
    """The fastest `keep_best` passed jobs of each problem, or of each name where no problem is given, on each device
    (times of different devices are not compared) and of each submitter: what somebody drops costs nobody else a job.

    Of a bundle that has passed more than once the run in the middle comes first, as in a leaderboard, and its other
    runs after that.
    """
    group = func.coalesce(literal("problem ") + Job.problem, literal("name ") + Job.name)
    tag = ranking.caller(callers.names, callers.server_uid)
    is_other = (~ranking.is_in_the_middle(within=(group, tag))).label("is_other")
    of_whom = (Job.submitter_uid, tag.label("tag"))
    passed = select(Job.id, group.label("group"), Environment.device_name, *of_whom, is_other)
    passed = passed.add_columns(had_no_reference().label("is_behind"), Job.runtime_ms, Job.finished_at)
    passed = passed.join(Bundle, Bundle.id == Job.id).outerjoin(Environment, Environment.id == Job.environment_id)
    run = passed.where(Job.verdict == Verdict.PASSED).subquery().c
    # NULLs sort first on SQLite and last on Postgres, so say it.
    order = (run.runtime_ms.is_(None), run.is_other, run.is_behind, run.runtime_ms, run.finished_at, run.id)
    of_one = (run.group, run.device_name, run.submitter_uid, run.tag)
    ranked = select(run.id, func.row_number().over(partition_by=of_one, order_by=order).label("place")).subquery()
    return select(ranked.c.id).where(ranked.c.place <= keep_best)


def _doubts(keep_best: int, callers: Callers, cutoff: datetime) -> Select[str]:
    """The last failed runs of the bundles that have passed and stay: without them a kernel that is right by luck would
    stand on a leaderboard without a doubt."""
    tag = ranking.caller(callers.names, callers.server_uid).label("tag")
    exact = (Bundle.source_sha256, Bundle.contract_sha256)
    bundle = (*exact, Environment.device_name, Job.submitter_uid, tag)
    run = select(Job.id, *bundle).join(Bundle, Bundle.id == Job.id)
    run = run.outerjoin(Environment, Environment.id == Job.environment_id)
    stay = union(select(Job.id).where(Job.finished_at >= cutoff), _best(keep_best, callers)).subquery()
    passed = run.join(stay, stay.c.id == Job.id).where(Job.verdict == Verdict.PASSED).subquery()
    place = func.row_number().over(partition_by=bundle, order_by=(Job.finished_at.desc(), Job.id)).label("place")
    failed = run.add_columns(place).where(Job.verdict.in_(ranking.FAILED)).subquery()
    same = [failed.c[column.key] == passed.c[column.key] for column in exact]
    same += [failed.c[key].is_not_distinct_from(passed.c[key]) for key in ("device_name", "submitter_uid", "tag")]
    return select(failed.c.id).where(failed.c.place <= _DOUBTS).join(passed, and_(*same)).distinct()


def _count(database: Database, job_ids: Sequence[str]) -> tuple[Sequence[str], int]:
    with database.read() as connection:
        count = connection.scalar(select(func.count()).select_from(Evaluation).where(Evaluation.job_id.in_(job_ids)))
    return job_ids, count or 0


def _delete(database: Database, job_ids: Sequence[str], cutoff: datetime) -> tuple[Sequence[str], int]:
    """One batch. Rows that another cleanup took in the meantime are neither deleted nor counted."""
    with database.write() as connection:
        mine = select(Job.id).where(Job.id.in_(job_ids), _is_old(cutoff)).with_for_update(skip_locked=True)
        job_ids = connection.scalars(mine).all()
        evaluations: CursorResult[Any] = connection.execute(delete(Evaluation).where(Evaluation.job_id.in_(job_ids)))
        _delete_jobs(connection, job_ids)
        return job_ids, evaluations.rowcount


def _delete_jobs(connection: Connection, job_ids: Sequence[str]) -> None:
    connection.execute(delete(Job).where(Job.id.in_(job_ids)))
    connection.execute(delete(Bundle).where(Bundle.id.in_(job_ids)))
