"""What a service did lately: how much, how long each part took, and how busy its daemons were."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import CTE, Connection, SQLColumnExpression, func, select
from sqlalchemy.orm import InstrumentedAttribute

from daemon.db.models import Attempt, Daemon, Evaluation, Job
from daemon.db.records import AttemptOutcome
from daemon.db.sqlfunctions import now, quantiles
from daemon.db.statistics_records import Activity, Busy, Spread
from daemon.verdict import Verdict

_SPANS_S = {"last_minute": 60, "last_5_minutes": 300, "last_hour": 3600, "last_day": 86_400}


def activity(connection: Connection, window: timedelta) -> Activity:
    """See `History.activity`."""
    moment = connection.execute(select(now())).scalar_one()
    since = moment - window
    verdicts = _verdicts(connection, since)
    return Activity(
        window=window,
        verdicts=verdicts,
        queue_ms=_spread(connection, Job.queue_ms, since),
        evaluate_ms=_spread(connection, Job.evaluate_ms, since),
        compile_ms=_compile(connection, since),
        finished={name: _finished(connection, seconds) for name, seconds in _SPANS_S.items()},
        busy=_busy(connection, moment, window),
    )


def _ended(since: datetime, *columns: InstrumentedAttribute[Any]) -> CTE:
    """These columns of the jobs of a window, found first, by the index on their end. Otherwise SQLite would go through
    all jobs there ever were, in the order of a group, or begin with the attempts."""
    ended = select(*columns).where(Job.finished_at >= since)
    return ended.cte("ended").prefix_with("MATERIALIZED")


def _verdicts(connection: Connection, since: datetime) -> dict[Verdict, int]:
    ended = _ended(since, Job.verdict)
    found = connection.execute(select(ended.c.verdict, func.count()).group_by(ended.c.verdict)).all()
    return dict.fromkeys(Verdict, 0) | {verdict: count for verdict, count in found if verdict is not None}


def _spread(connection: Connection, figure: SQLColumnExpression[Any], since: datetime) -> Spread:
    statement = select(func.count(figure), func.avg(figure), quantiles(figure)).where(Job.finished_at >= since)
    return _as_spread(connection.execute(statement).one())


def _compile(connection: Connection, since: datetime) -> Spread:
    figure = Evaluation.compile_ms
    statement = select(func.count(figure), func.avg(figure), quantiles(figure)).join(Job, Job.id == Evaluation.job_id)
    return _as_spread(connection.execute(statement.where(Job.finished_at >= since)).one())


def _as_spread(row: Any) -> Spread:
    count, mean, parts = row
    median, p95 = parts or (None, None)
    return Spread(count, None if mean is None else float(mean), median, p95)


def _finished(connection: Connection, seconds: int) -> int:
    statement = select(func.count()).select_from(Job).where(Job.finished_at >= now(-seconds))
    return connection.scalar(statement) or 0


def _busy(connection: Connection, moment: datetime, window: timedelta) -> tuple[Busy, ...]:
    """Of every known daemon: the share of the window that its slots spent on jobs that ended in it."""
    ended = _ended(moment - window, Job.id, Job.evaluate_ms)
    spent = (
        select(Attempt.owner, func.sum(ended.c.evaluate_ms).label("spent_ms"))
        .join(ended, ended.c.id == Attempt.job_id)
        .where(Attempt.outcome == AttemptOutcome.PUBLISHED)
        .group_by(Attempt.owner)
    )
    spent_ms = {row.owner: float(row.spent_ms or 0) for row in connection.execute(spent)}
    daemons = connection.execute(select(Daemon.owner, Daemon.host, Daemon.slots, Daemon.devices, Daemon.started_at))
    found = []
    for row in daemons:
        there_s = min(window, moment - row.started_at).total_seconds()
        share = spent_ms.get(row.owner, 0.0) / 1e3 / max(there_s * row.slots, 1e-3)
        names = tuple(str(device.get("name")) for device in row.devices or ())
        found.append(Busy(row.owner, row.host, row.slots, names, min(share, 1.0)))
    return tuple(sorted(found, key=lambda busy: (busy.host, busy.owner)))
