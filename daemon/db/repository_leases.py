"""Taking a job, giving it back, and taking it away: every move that is not a publication."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    Integer,
    Select,
    Text,
    bindparam,
    case,
    cast,
    delete,
    func,
    insert,
    select,
    update,
)

from daemon.callers import Sender
from daemon.db import piles, ranking
from daemon.db import repository_rows as rows
from daemon.db.models import Attempt, Deferral, Event, Job
from daemon.db.record_rows import LEASE_COLUMNS
from daemon.db.records import AttemptOutcome, Expired, Lease
from daemon.db.repository_rows import HELD, UNLEASED
from daemon.db.sqlfunctions import now
from daemon.errors import LostClaim
from daemon.lifecycle import JobState
from daemon.verdict import Verdict

TAKE_BACK_BATCH = 200
COMPARED = 256  # far more than daemons claim ahead, and than callers who lock one job each at the same time
_HOWEVER_OFTEN = 2**31 - 1  # the most that a column of Postgres is compared with
_NOT_QUEUED = tuple(state for state in JobState if state is not JobState.QUEUED)

# Built once: building a statement takes longer than running it.
_TAKE = (
    update(rows.table_of(Job))
    .where(Job.id == bindparam("taken"), Job.state == JobState.QUEUED, Job.attempts < bindparam("most"))
    .values(
        state=JobState.CLAIMED,
        fence=Job.fence + 1,
        attempts=Job.attempts + bindparam("counted", type_=Integer()),
        lease_owner=bindparam("owner"),
        lease_until=now(bindparam("lease_s", type_=Float())),
        claimed_at=now(),
        started_at=None,
    )
    .returning(*LEASE_COLUMNS)
)
_ATTEMPT = insert(rows.table_of(Attempt))


class Held(NamedTuple):
    """A job and the fence it is held with."""

    job_id: str
    fence: int


def lost(lease: Lease) -> LostClaim:
    """The error for a lease that no longer counts."""
    return LostClaim(f"job {lease.job_id}: lease {lease.fence} of {lease.owner} no longer counts")


@lru_cache(maxsize=64)
def next_waiting(
    open_piles: tuple[str, ...],
    max_attempts: int,
    turns: tuple[Sender, ...] = (),
    *,
    tags: tuple[str, ...] = (),
    server_uid: int | None = None,
    oldest: bool = False,
    passed_over: bool = False,
    not_of: bool = False,
) -> Select[str]:
    """The query for the job that comes next in these piles. It locks the job where the database can do that.

    Only the first jobs of each pile are compared, and whoever takes turns does so among those. A queue is hardly ever
    longer. When it is (jobs that only a new daemon can serve), nobody sorts all of it for each lease. `passed_over`:
    whether jobs of the parameter of this name are left out; `not_of`: whether jobs of these submitters are. `tags`,
    `server_uid`: as `Callers` has them.
    """
    may_come = Job.attempts < max_attempts
    if passed_over:
        may_come &= Job.id.not_in(bindparam("passed_over", expanding=True))
    if not_of:
        may_come &= func.coalesce(_whose(tags, server_uid), "").not_in(bindparam("not_of", expanding=True))
    order = [*piles.BY_AGE] if oldest else [*piles.BY_PRIORITY]
    first = piles.first_of(open_piles, COMPARED, order, may_come)
    if turns and not oldest:
        order.insert(1, _place(turns, tags, server_uid))
    # The state again, for Postgres looks once more when it has the row's lock; and so that SQLite does not think of an
    # index on it, and goes through the whole queue instead of taking the few ids.
    pick = select(Job.id).where(Job.id.in_(first), Job.state.not_in(_NOT_QUEUED), may_come)
    return pick.order_by(*order).limit(1).with_for_update(skip_locked=True)


def _place(turns: tuple[Sender, ...], tags: tuple[str, ...], server_uid: int | None) -> ColumnElement[int]:
    """The place of a job by whose it is: the number of that submitter among `turns`, from 1 on; 0 for a submitter who
    is not among them."""
    if not tags:
        return case({uid: number for number, (uid, _) in enumerate(turns, start=1)}, value=Job.submitter_uid, else_=0)
    place = {whose(sender): number for number, sender in enumerate(turns, start=1)}
    return case(place, value=_whose(tags, server_uid), else_=0)


def whose(sender: Sender) -> str:
    """How a submitter is called in these queries."""
    uid, tag = sender
    return f"{uid} {tag}"


def _whose(tags: tuple[str, ...], server_uid: int | None) -> ColumnElement[str]:
    """The same of a job; NULL where nobody knows whose it is."""
    return cast(Job.submitter_uid, Text) + " " + ranking.caller(tags, server_uid)


def take(connection: Connection, job_id: str, owner: str, lease_s: float, max_attempts: int) -> Lease | None:
    """Queued -> claimed by one compare-and-set. The attempt is counted and written down in the same transaction."""
    return _take(connection, job_id, owner, lease_s, max_attempts, counted=True)


def take_to_end(connection: Connection, job_id: str, owner: str, lease_s: float) -> Lease | None:
    """As `take`, for who only ends the job, however often it was tried. Nothing runs, so the attempt does not count."""
    return _take(connection, job_id, owner, lease_s, _HOWEVER_OFTEN, counted=False)


def _take(connection: Connection, job_id: str, owner: str, lease_s: float, most: int, *, counted: bool) -> Lease | None:
    given = {"taken": job_id, "most": most, "owner": owner, "lease_s": lease_s, "counted": int(counted)}
    row = connection.execute(_TAKE, given).one_or_none()
    if row is None:
        return None
    lease = Lease(**row._mapping)
    number = lease.attempt if counted else None
    attempt = {"job_id": job_id, "fence": lease.fence, "number": number, "owner": owner}
    connection.execute(_ATTEMPT, {**attempt, "leased_at": lease.claimed_at})
    rows.note(connection, job_id, "leased", owner)
    return lease


def seize(connection: Connection, job_id: str, owner: str, lease_s: float) -> Lease | None:
    """See `Repository.seize`."""
    found = connection.execute(_as_it_stands(job_id)).one_or_none()
    if found is None or found.state.final or found.state is JobState.WITHDRAWN:
        return None
    if found.state in HELD:
        attempts = found.attempts - _counted(connection, job_id, found.fence)
        values = {**UNLEASED, "fence": found.fence + 1, "attempts": attempts}
        rows.move(connection, job_id, (found.state,), JobState.QUEUED, held_fence=found.fence, **values)
        rows.end_attempt(connection, job_id, found.fence, AttemptOutcome.WITHDRAWN, f"taken by {owner}")
    return take_to_end(connection, job_id, owner, lease_s)


def _counted(connection: Connection, job_id: str, fence: int) -> int:
    """1 if the attempt that holds this fence counts, else 0."""
    number = select(Attempt.number).where(Attempt.job_id == job_id, Attempt.fence == fence)
    return int(connection.scalar(number) is not None)


def _as_it_stands(job_id: str) -> Select[JobState, int, int]:
    """State, fence and attempts of a job, locked."""
    return select(Job.state, Job.fence, Job.attempts).where(Job.id == job_id).with_for_update()


def start(connection: Connection, lease: Lease) -> None:
    """See `Repository.start`."""
    claimed, running = JobState.CLAIMED, JobState.RUNNING
    if rows.move(connection, lease.job_id, (claimed,), running, held_fence=lease.fence, stamped="started_at"):
        rows.note(connection, lease.job_id, "started", lease.owner)
        return
    state = connection.scalar(select(Job.state).where(Job.id == lease.job_id, Job.fence == lease.fence))
    if state is not running:
        raise lost(lease)


def retry(connection: Connection, lease: Lease, reason: str, max_attempts: int) -> JobState:
    """See `Repository.retry`."""
    held = (Job.id == lease.job_id, Job.fence == lease.fence, Job.state.in_(HELD))
    attempts = connection.scalar(select(Job.attempts).where(*held).with_for_update())
    if attempts is None:
        return _retried_before(connection, lease)
    last = attempts >= max_attempts
    outcome = AttemptOutcome.BROKEN if last else AttemptOutcome.RETRIED
    return _give_back(connection, Held(lease.job_id, lease.fence), reason, outcome, last=last)


def _retried_before(connection: Connection, lease: Lease) -> JobState:
    outcome = rows.outcome_of(connection, lease.job_id, lease.fence)
    if outcome in (AttemptOutcome.RETRIED, AttemptOutcome.DEFERRED):
        return JobState.QUEUED
    if outcome is AttemptOutcome.BROKEN:
        return JobState.BROKEN
    raise lost(lease)


def _give_back(connection: Connection, held: Held, reason: str, outcome: AttemptOutcome, *, last: bool) -> JobState:
    """Held -> queued, or broken after the `last` attempt."""
    state = JobState.BROKEN if last else JobState.QUEUED
    values: dict[str, Any] = {**UNLEASED, "fence": held.fence + 1}
    if last:
        values |= {"verdict": Verdict.HARNESS_ERROR, "message": reason, "stamped": "finished_at"}
    if not rows.move(connection, held.job_id, HELD, state, held_fence=held.fence, **values):
        raise LostClaim(f"job {held.job_id}: lease {held.fence} no longer counts")
    rows.end_attempt(connection, held.job_id, held.fence, outcome, reason)
    rows.note(connection, held.job_id, str(outcome), reason)
    if last and outcome is not AttemptOutcome.BROKEN:
        rows.note(connection, held.job_id, "broken", reason)
    return state


def take_back(connection: Connection, which: ColumnElement[bool], reason: str, max_attempts: int) -> list[Expired]:
    """At most `TAKE_BACK_BATCH` of the held jobs that `which` names; rows another caller is taking back are skipped."""
    columns = (Job.id, Job.lease_owner, Job.fence, Job.attempts, Job.name, Job.work_name)
    pick = select(*columns).where(which).order_by(Job.lease_until).limit(TAKE_BACK_BATCH)
    taken = []
    for row in connection.execute(pick.with_for_update(skip_locked=True)).all():
        owner = row.lease_owner or ""
        last = row.attempts >= max_attempts
        why = f"{reason} ({owner})"
        state = _give_back(connection, Held(row.id, row.fence), why, AttemptOutcome.EXPIRED, last=last)
        taken.append(Expired(row.id, owner, row.fence, row.attempts, state, row.name, row.work_name))
    return taken


def is_exhausted(max_attempts: int) -> ColumnElement[bool]:
    """Waits for an attempt that it will not get."""
    return (Job.state == JobState.QUEUED) & (Job.attempts >= max_attempts)


def break_exhausted(connection: Connection, max_attempts: int) -> list[Expired]:
    """At most `TAKE_BACK_BATCH` of the queued jobs without an attempt left; rows another caller locks are skipped."""
    columns = (Job.id, Job.fence, Job.attempts, Job.name, Job.work_name)
    pick = select(*columns).where(is_exhausted(max_attempts)).order_by(Job.created_at, Job.id).limit(TAKE_BACK_BATCH)
    broken = []
    for row in connection.execute(pick.with_for_update(skip_locked=True)).all():
        why = f"attempts: {row.attempts}, and max_attempts is {max_attempts} now"
        reason = connection.scalar(_last_reason(row.id))
        why += f"; the last time: {reason}" if reason else ""
        values: dict[str, Any] = {"fence": row.fence + 1, "verdict": Verdict.HARNESS_ERROR, "message": why}
        broke = rows.move(
            connection,
            row.id,
            (JobState.QUEUED,),
            JobState.BROKEN,
            held_fence=row.fence,
            stamped="finished_at",
            **values,
        )
        if broke:
            rows.note(connection, row.id, "broken", why)
            broken.append(Expired(row.id, "", row.fence, row.attempts, JobState.BROKEN, row.name, row.work_name))
    return broken


def _last_reason(job_id: str) -> Select[str | None]:
    counted = (Attempt.job_id == job_id, Attempt.number.is_not(None))
    return select(Attempt.reason).where(*counted).order_by(Attempt.fence.desc()).limit(1)


def put_back(connection: Connection, lease: Lease, reason: str) -> None:
    """See `Repository.put_back`. Such an attempt leaves no events, because there may be one every few seconds, for
    ever."""
    if _let_go(connection, lease, AttemptOutcome.WITHDRAWN, reason, Attempt.reason == reason):
        begun = (Event.kind.in_(("leased", "started")), Event.at >= lease.claimed_at)
        connection.execute(delete(Event).where(Event.job_id == lease.job_id, *begun))


def defer(connection: Connection, lease: Lease, reason: str) -> bool:
    """See `Repository.defer`."""
    pile = piles.joined_by(connection, lease.job_id, lease.owner)
    if not _let_go(connection, lease, AttemptOutcome.DEFERRED, reason, pile=pile):
        return False
    connection.execute(delete(Deferral).where(Deferral.job_id == lease.job_id, Deferral.owner == lease.owner))
    connection.execute(insert(Deferral).values(job_id=lease.job_id, owner=lease.owner, reason=reason, at=now()))
    rows.note(connection, lease.job_id, "deferred", f"{lease.owner}: {reason}")
    return True


def _let_go(
    connection: Connection,
    lease: Lease,
    outcome: AttemptOutcome,
    reason: str,
    *like: ColumnElement[bool],
    **values: Any,
) -> bool:
    """Held -> queued by an attempt that does not count. False: this very lease had ended so before. Raises `LostClaim`.

    Of the attempts with this outcome (and `like` it) only the newest stays, because there may be one every few seconds.
    """
    attempts = lease.attempt - _counted(connection, lease.job_id, lease.fence)
    values |= {**UNLEASED, "fence": lease.fence + 1, "attempts": attempts}
    if not rows.move(connection, lease.job_id, HELD, JobState.QUEUED, held_fence=lease.fence, **values):
        if rows.outcome_of(connection, lease.job_id, lease.fence) is outcome:
            return False
        raise lost(lease)
    rows.end_attempt(connection, lease.job_id, lease.fence, outcome, reason)
    before = (Attempt.job_id == lease.job_id, Attempt.outcome == outcome, Attempt.fence < lease.fence)
    connection.execute(delete(Attempt).where(*before, *like))
    return True


def withdraw(connection: Connection, held: Lease | str) -> bool:
    """See `Repository.withdraw`."""
    job_id = held if isinstance(held, str) else held.job_id
    found = connection.execute(_as_it_stands(job_id)).one_or_none()
    if isinstance(held, Lease) and (found is None or found.fence != held.fence):
        if rows.outcome_of(connection, job_id, held.fence) is AttemptOutcome.WITHDRAWN:
            return False
        raise lost(held)
    if found is not None and found.state is JobState.WITHDRAWN:
        return False
    if found is None or found.state.final:
        raise LostClaim(f"job {job_id} is {found.state if found else 'unknown'} and cannot be withdrawn")
    leased = found.state in HELD
    attempts = found.attempts - (_counted(connection, job_id, found.fence) if leased else 0)
    values = {**UNLEASED, "fence": found.fence + 1, "attempts": attempts, "work_name": None}
    values |= {"pile": piles.NOBODY}  # it may come back with another contract
    if not rows.move(connection, job_id, (found.state,), JobState.WITHDRAWN, held_fence=found.fence, **values):
        raise LostClaim(f"job {job_id} changed hands while it was being withdrawn")
    if leased:
        rows.end_attempt(connection, job_id, found.fence, AttemptOutcome.WITHDRAWN)
    connection.execute(delete(Deferral).where(Deferral.job_id == job_id))
    rows.note(connection, job_id, "withdrawn")
    return True
