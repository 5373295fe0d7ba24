"""Pages of jobs, newest first: filters as conditions, and where a page ends."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Connection, func, select, tuple_, union_all

from daemon.db.columns import storable
from daemon.db.models import Bundle, Job
from daemon.db.record_rows import JOB_COLUMNS
from daemon.db.records import JobPage, JobRecord
from daemon.db.sqlfunctions import text_at
from daemon.errors import OperatorError
from daemon.lifecycle import JobState
from daemon.verdict import Verdict

NEWEST_FIRST = (Job.created_at.desc(), Job.id.desc())
HEX = re.compile(r"[0-9a-f]{1,32}")


@dataclass(frozen=True)
class Wanted:
    """What jobs must be like, but for their state; None: anything. `label`: (key, value)."""

    name: str | None = None
    problem: str | None = None
    verdict: Verdict | None = None
    label: tuple[str, str] | None = None
    since: datetime | None = None
    ending_in: str | None = None
    submitter_uid: int | None = None

    def conditions(self) -> Iterator[ColumnElement[bool]]:
        if self.name is not None:
            yield Job.name == storable(self.name)
        if self.problem is not None:
            yield Job.problem == storable(self.problem)
        if self.verdict is not None:
            yield _verdict_is(self.verdict, beside=self.name is not None or self.problem is not None)
        if self.label is not None:
            yield text_at(Job.labels, self.label[0]) == storable(self.label[1])
        if self.since is not None:
            yield Job.created_at >= self.since
        if self.ending_in is not None:
            yield Job.id.endswith(self.ending_in)
        if self.submitter_uid is not None:
            yield Job.submitter_uid == self.submitter_uid


def page(
    connection: Connection, wanted: Wanted, states: Sequence[JobState] | None, limit: int, cursor: str | None
) -> JobPage:
    """The newest `limit` jobs that are `wanted` and in one of `states`, from `cursor` on. Raises `OperatorError` for a
    cursor that is not one of ours."""
    given = list(wanted.conditions())
    if cursor is not None:
        given.append(tuple_(Job.created_at, Job.id) < tuple_(*_read_cursor(cursor)))
    if states is not None:
        given.append(_in_states(states, given, limit + 1))
    statement = select(*JOB_COLUMNS).join(Bundle, Bundle.id == Job.id).where(*given)
    statement = statement.order_by(*NEWEST_FIRST).limit(limit + 1)
    found = [JobRecord(**row._mapping) for row in connection.execute(statement)]
    return JobPage(tuple(found[:limit]), _write_cursor(found[limit - 1]) if len(found) > limit else None)


def _verdict_is(verdict: Verdict, *, beside: bool) -> ColumnElement[bool]:
    """The condition on the verdict. `beside` a name or a problem, whose index finds fewer jobs, it is written so that
    SQLite does not use the index on verdicts."""
    return func.coalesce(Job.verdict, "") == str(verdict) if beside else Job.verdict == verdict


def _in_states(states: Sequence[JobState], given: Sequence[ColumnElement[bool]], limit: int) -> ColumnElement[bool]:
    """The newest `limit` jobs in these states. An index has the jobs of each state in order, so `limit` of each are
    enough. Asked for several states at once, SQLite would sort all jobs there are."""
    if len(states) < 2:  # noqa: PLR2004
        return Job.state.in_(states)
    newest = (select(Job.id).where(Job.state == state, *given).order_by(*NEWEST_FIRST).limit(limit) for state in states)
    return Job.id.in_(union_all(*(select(some.subquery()) for some in newest)))


def _write_cursor(last: JobRecord) -> str:
    return f"{last.created_at.astimezone(UTC).isoformat()}/{last.job_id}"


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    moment, _, job_id = cursor.partition("/")
    try:
        created_at = datetime.fromisoformat(moment)
    except ValueError as error:
        raise OperatorError(f"not a cursor: {cursor!r}", hint="pass on the cursor of the page before") from error
    if created_at.tzinfo is None or not HEX.fullmatch(job_id):
        raise OperatorError(f"not a cursor: {cursor!r}", hint="pass on the cursor of the page before")
    return created_at, job_id
