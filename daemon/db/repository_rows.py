"""The building blocks of every write: compare-and-set of a job's state, insert if missing, the end of an attempt, an
event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, cast

from sqlalchemy import Connection, Table, Update, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute

from daemon.db.columns import storable
from daemon.db.models import Attempt, Event, Job
from daemon.db.records import AttemptOutcome
from daemon.db.sqlfunctions import now
from daemon.errors import HarnessError
from daemon.lifecycle import JobState, may_move

HELD = (JobState.CLAIMED, JobState.RUNNING)
UNCOUNTED = (AttemptOutcome.WITHDRAWN, AttemptOutcome.DEFERRED)
UNLEASED: Mapping[str, Any] = {"lease_owner": None, "lease_until": None, "progress": None}
NAME_CHARS = 255  # names are indexed, and Postgres refuses index entries over 2.7 kB


def table_of(model: type[DeclarativeBase]) -> Table:
    """The table of a model. A statement on the table is built and run in less time than one on its model; one that is
    built once, with parameters for its values, in a fraction of that."""
    table: Any = model.__table__
    return cast("Table", table)


_NOTE = insert(table_of(Event)).values(at=now())
_END = (
    update(table_of(Attempt))
    .where(Attempt.job_id == bindparam("of_job"), Attempt.fence == bindparam("held"))
    .values(ended_at=now())
)


def move(
    connection: Connection,
    job_id: str,
    old: Iterable[JobState],
    new: JobState,
    *,
    held_fence: int,
    stamped: str | None = None,
    **values: Any,
) -> bool:
    """Compare-and-set: move the job from one of `old` to `new` if it is there with exactly `held_fence`. False: it
    was not. `stamped`: a column that gets the database's time.
    """
    states = tuple(old)
    forbidden = [state for state in states if not may_move(state, new)]
    if forbidden:
        raise ValueError(f"a job may not move from {forbidden[0]} to {new}")
    given = {"moved": job_id, "held": held_fence, "state": new, **values}
    return connection.execute(_move(states, stamped), given).rowcount == 1


@cache
def _move(old: tuple[JobState, ...], stamped: str | None) -> Update:
    statement = update(table_of(Job)).where(Job.id == bindparam("moved"), Job.state.in_(old))
    statement = statement.where(Job.fence == bindparam("held"))
    return statement if stamped is None else statement.values({stamped: now()})


def insert_missing(
    connection: Connection,
    table: type[DeclarativeBase],
    key: InstrumentedAttribute[Any],
    values: Mapping[str, Any],
    *stamped: str,
) -> bool:
    """Insert a row unless one with the same `key` is there. True: inserted. Waits for a rival insert to be decided.

    `stamped`: columns that get the database's time.
    """
    statement = _insert_missing(connection.dialect.name, table, key, stamped)
    return connection.execute(statement, dict(values)).one_or_none() is not None


@cache
def _insert_missing(
    dialect: str, table: type[DeclarativeBase], key: InstrumentedAttribute[Any], stamped: tuple[str, ...]
) -> Any:
    statement = upsert(dialect, table).values({column: now() for column in stamped})
    return statement.on_conflict_do_nothing(index_elements=[key.key]).returning(key)


def upsert(dialect: str, table: type[DeclarativeBase]) -> Any:
    """An INSERT that knows ON CONFLICT, in the words of this kind of database."""
    build = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return build(table_of(table))


def end_attempt(
    connection: Connection, job_id: str, fence: int, outcome: AttemptOutcome, reason: str | None = None
) -> None:
    """Write down how the attempt that held `fence` ended. One that does not count gives its number back."""
    given: dict[str, Any] = {"of_job": job_id, "held": fence, "outcome": outcome, "reason": reason}
    if outcome in UNCOUNTED:
        given["number"] = None
    connection.execute(_END, given)


def outcome_of(connection: Connection, job_id: str, fence: int) -> AttemptOutcome | None:
    """How the attempt that held `fence` ended: the way to recognise a write whose answer was lost."""
    return connection.scalar(select(Attempt.outcome).where(Attempt.job_id == job_id, Attempt.fence == fence))


def note(connection: Connection, job_id: str | None, kind: str, detail: str | None = None) -> None:
    """Append one event, of a job or (None) of the service. `kind`: at most 40 characters."""
    connection.execute(_NOTE, {"job_id": job_id, "kind": kind, "detail": detail})


def clipped(value: str, limit_chars: int = NAME_CHARS) -> str:
    """`value` as it fits an index or a bounded column."""
    return storable(value)[:limit_chars]


def clipped_or_none(value: str | None, limit_chars: int = NAME_CHARS) -> str | None:
    return None if value is None else clipped(value, limit_chars)


def result_text(job_id: str, document: Mapping[str, Any]) -> str:
    """The result document as JSON text. Raises `HarnessError` for NaN, Infinity, or what JSON cannot say."""
    try:
        return json.dumps(document, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise HarnessError(f"the result of job {job_id} cannot be written as JSON: {error}") from error
