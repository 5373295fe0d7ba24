"""Aggregates over finished jobs, computed where the rows are."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Label,
    Row,
    SQLColumnExpression,
    Text,
    case,
    cast,
    desc,
    func,
    literal,
    literal_column,
    or_,
    select,
)

from daemon.batches import batched
from daemon.callers import NOBODY, Callers
from daemon.db import ranking
from daemon.db.models import IS_FINISHED, Bundle, Environment, Evaluation, Job, Statistics, had_no_reference
from daemon.db.record_rows import what_all_cases_say
from daemon.db.sqlfunctions import quantiles, utc_day
from daemon.db.statistics_records import Standing, StatsRow
from daemon.errors import OperatorError
from daemon.verdict import Side, Verdict

_ASKED_AT_ONCE = 500  # jobs, or sources
_CALLER = "caller "  # no uid begins so
_EVER = datetime(1970, 1, 1, tzinfo=UTC)


class GroupBy(StrEnum):
    """What `stats` can group by."""

    VERDICT = "verdict"
    PROBLEM = "problem"
    NAME = "name"
    KERNEL_TYPE = "kernel_type"
    DAY = "day"
    SUBMITTER = "submitter"
    DEVICE = "device"


_KEYS: dict[GroupBy, SQLColumnExpression[Any]] = {
    GroupBy.VERDICT: Job.verdict,
    GroupBy.PROBLEM: Job.problem,
    GroupBy.NAME: Job.name,
    GroupBy.KERNEL_TYPE: Job.kernel_type,
    GroupBy.DAY: utc_day(Job.finished_at),
    GroupBy.SUBMITTER: Job.submitter_uid,
    GroupBy.DEVICE: select(Environment.device_name).where(Environment.id == Job.environment_id).scalar_subquery(),
}


def group_by(wanted: str) -> GroupBy:
    """The grouping called `wanted`. Raises `OperatorError` with the nearest one."""
    try:
        return GroupBy(wanted)
    except ValueError as error:
        nearest = difflib.get_close_matches(wanted, list(GroupBy), n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"one of: {', '.join(GroupBy)}"
        raise OperatorError(f"cannot group by {wanted!r}", hint=hint) from error


def stats(
    connection: Connection,
    since: datetime | None,
    by: GroupBy | str,
    limit: int | None = None,
    callers: Callers = NOBODY,
) -> tuple[StatsRow, ...]:
    """See `History.stats`."""
    wanted = group_by(by)
    if wanted is GroupBy.SUBMITTER and callers.names:
        return _by_submitter(connection, since, limit, callers)
    return grouped(connection, since, _KEYS[wanted], limit, latest_first=wanted is GroupBy.DAY)


def _by_submitter(
    connection: Connection, since: datetime | None, limit: int | None, callers: Callers
) -> tuple[StatsRow, ...]:
    """By uid, or by the name of whoever has sent over HTTP. A caller whose name looks like a uid has a word before
    it."""
    tag = ranking.caller(callers.names, callers.server_uid)
    key = case((tag == "", cast(Job.submitter_uid, Text)), else_=literal(_CALLER) + tag)
    names = {f"{_CALLER}{tag}": f"{_CALLER}{name}" if name.isdecimal() else name for tag, name in callers.names.items()}
    rows = grouped(connection, since, key, limit)
    return tuple(replace(row, key=names.get(row.key or "", row.key)) for row in rows)


def grouped(
    connection: Connection,
    since: datetime | None,
    by: SQLColumnExpression[Any],
    limit: int | None = None,
    *,
    latest_first: bool = False,
) -> tuple[StatsRow, ...]:
    """As `stats`, by any expression over jobs."""
    key: Label[Any] = by.label("key")
    order = (desc(key),) if latest_first else (desc("jobs"), key)
    ended = [Job.finished_at >= (since or _EVER)]
    if limit is not None:
        counted = select(key, func.count().label("jobs")).where(*ended).group_by(literal_column("1"))
        first = connection.scalars(counted.order_by(*order).limit(limit)).all()
        named = by.in_([one for one in first if one is not None])
        ended.append(or_(named, by.is_(None)) if None in first else named)
    is_passed = Job.verdict == literal_column(f"'{Verdict.PASSED}'")
    passed_runtime = case((is_passed, Job.runtime_ms))
    statement = (
        select(
            key,
            func.count().label("jobs"),
            func.count(case((is_passed, 1))).label("passed"),
            func.min(passed_runtime).label("best_runtime_ms"),
            quantiles(passed_runtime).label("runtimes"),
            func.max(case((is_passed, Job.speedup))).label("best_speedup"),
            func.avg(Job.evaluate_ms).label("mean_evaluate_ms"),
            quantiles(Job.queue_ms).label("queues"),
        )
        .where(*ended)
        .group_by(literal_column("1"))
        .order_by(*order)
    )
    return tuple(_row(row) for row in connection.execute(statement))


def _row(row: Row[*tuple[Any, ...]]) -> StatsRow:
    return StatsRow(
        key=None if row.key is None else str(row.key),
        count=row.jobs,
        passed=row.passed,
        pass_share=row.passed / row.jobs,
        best_runtime_ms=row.best_runtime_ms,
        median_runtime_ms=row.runtimes[0] if row.runtimes else None,
        best_speedup=row.best_speedup,
        mean_evaluate_ms=row.mean_evaluate_ms,
        median_queue_ms=row.queues[0] if row.queues else None,
        p95_queue_ms=row.queues[1] if row.queues else None,
    )


def leaderboard(
    connection: Connection,
    problem: str,
    device_name: str | None,
    limit: int,
    per_submitter: int | None,
    callers: Callers,
) -> tuple[Standing, ...]:
    """See `History.leaderboard`."""
    tag = ranking.caller(callers.names, callers.server_uid)
    is_ranked = (IS_FINISHED, Job.problem == problem, Job.verdict == Verdict.PASSED, Job.runtime_ms.is_not(None))
    passed = select(
        Job.id.label("job_id"),
        Job.name,
        Job.submitter_uid,
        Job.runtime_ms,
        Job.ref_runtime_ms,
        Job.speedup,
        Environment.device_name,
        Bundle.source_sha256,
        Bundle.contract_sha256,
        Job.finished_at,
        had_no_reference().label("is_behind"),
        tag.label("tag"),
        ranking.runs(within=(tag,)).label("runs"),
        ranking.is_in_the_middle(within=(tag,)).label("is_in_the_middle"),
    )
    passed = passed.join(Bundle, Bundle.id == Job.id).outerjoin(Environment, Environment.id == Job.environment_id)
    passed = passed.where(*is_ranked)
    if device_name is not None:
        passed = passed.where(Environment.device_name == device_name)
    run = passed.subquery()
    order = (run.c.is_behind, run.c.runtime_ms, run.c.finished_at, run.c.job_id)
    of_one = (run.c.device_name, run.c.name, run.c.submitter_uid, run.c.tag)
    place = func.row_number().over(partition_by=of_one, order_by=order).label("place")
    best = select(run, place).where(run.c.is_in_the_middle).subquery()
    order = (best.c.is_behind, best.c.runtime_ms, best.c.finished_at, best.c.job_id)
    columns = [column for column in best.columns if column.key not in ("place", "is_in_the_middle")]
    of_submitter = (best.c.device_name, best.c.submitter_uid, best.c.tag)
    turn = func.row_number().over(partition_by=of_submitter, order_by=order).label("turn")
    mine = select(turn, *columns).where(best.c.place == 1).subquery()
    order = (mine.c.is_behind, mine.c.runtime_ms, mine.c.finished_at, mine.c.job_id)
    rank = func.row_number().over(partition_by=mine.c.device_name, order_by=order).label("rank")
    columns = [column for column in mine.columns if column.key not in ("turn", "is_behind")]
    entered = select(rank, *columns)
    if per_submitter is not None:
        entered = entered.where(mine.c.turn <= per_submitter)
    ranked = entered.subquery()
    in_order = (ranked.c.device_name.is_(None), ranked.c.device_name, ranked.c.rank)
    statement = select(ranked, what_all_cases_say(ranked.c.job_id)).where(ranked.c.rank <= limit).order_by(*in_order)
    rows = connection.execute(statement).all()
    labels = _labels(connection, [row.job_id for row in rows])
    failed = _failed_runs(connection, rows, tag)
    return tuple(_standing(row, callers, labels.get(row.job_id, ()), failed.get(_one_bundle(row), 0)) for row in rows)


def _standing(row: Row[*tuple[Any, ...]], callers: Callers, labels: tuple[str, ...], failed_runs: int) -> Standing:
    told = dict(row._mapping)
    del told["contract_sha256"]
    name = callers.names.get(told.pop("tag"))
    return Standing(**told, caller=name, labels=labels, failed_runs=failed_runs)


def _one_bundle(row: Row[*tuple[Any, ...]]) -> tuple[object, ...]:
    """Equal for runs of the same bytes that one submitter has sent, by whatever names, on one device."""
    return row.source_sha256, row.contract_sha256, row.device_name, row.submitter_uid, row.tag


def _failed_runs(
    connection: Connection, rows: Sequence[Row[*tuple[Any, ...]]], tag: ColumnElement[str]
) -> dict[tuple[object, ...], int]:
    """How often those bundles were judged and failed. A kernel that is right by luck passes some day."""
    found: dict[tuple[object, ...], int] = {}
    sources = sorted({row.source_sha256 for row in rows if row.source_sha256 and row.contract_sha256})
    known = (Bundle.source_sha256, Bundle.contract_sha256, Environment.device_name, Job.submitter_uid)
    for some in batched(sources, _ASKED_AT_ONCE):
        run = select(*known, tag.label("tag")).join(Job, Job.id == Bundle.id)
        run = run.outerjoin(Environment, Environment.id == Job.environment_id)
        failed = run.where(Bundle.source_sha256.in_(some), IS_FINISHED, Job.verdict.in_(ranking.FAILED)).subquery()
        statement = select(*failed.c, func.count().label("runs")).group_by(*failed.c)
        found |= {_one_bundle(row): row.runs for row in connection.execute(statement)}
    return found


def _labels(connection: Connection, job_ids: list[str]) -> dict[str, tuple[str, ...]]:
    """Of each job, the labels of its cases and of the times of its kernel in them; each label once."""
    found: dict[str, dict[str, None]] = {}
    timed = (Statistics.evaluation_id == Evaluation.id) & (Statistics.side == Side.CANDIDATE)
    columns = (Evaluation.job_id, Evaluation.details["labels"].label("of_case"), Statistics.labels.label("of_time"))
    for some in batched(job_ids, _ASKED_AT_ONCE):
        statement = select(*columns).outerjoin(Statistics, timed).where(Evaluation.job_id.in_(some))
        for row in connection.execute(statement.order_by(Evaluation.job_id, Evaluation.position)):
            found.setdefault(row.job_id, {}).update(dict.fromkeys([*(row.of_case or ()), *(row.of_time or ())]))
    return {job_id: tuple(labels) for job_id, labels in found.items()}
