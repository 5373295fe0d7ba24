"""Piles of queued jobs: those that the same daemons have deferred.

`job.pile` is computed from the owners that `deferral` names for the job. So any job of a pile answers for all of it: a
daemon may lease every job of a pile or none. A hundred thousand jobs for a device that it lacks cost a daemon one look
at an index each time, and not a walk past all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    bindparam,
    delete,
    func,
    select,
    text,
    union_all,
    update,
)

from daemon.batches import batched
from daemon.db.models import IS_QUEUED, Deferral, Job
from daemon.lifecycle import JobState

NAME_CHARS = 32
_FINAL = tuple(state for state in JobState if state.final)
_JOINED = 400  # SQLite joins no more than 500 by UNION
FORGOTTEN_AT_ONCE = 500  # a transaction of milliseconds, for others wait for it
BY_AGE: tuple[ColumnElement[Any], ...] = (Job.created_at.asc(), Job.id.asc())  # `ix_job_oldest`
BY_PRIORITY = (Job.priority.desc(), *BY_AGE)  # `ix_job_next`
NOBODY = ""  # the pile of what nobody has deferred

# From one pile to the next by one look at `ix_job_next` each: neither database skips through an index for DISTINCT.
_PILES = """
WITH RECURSIVE heap(known) AS (
    SELECT * FROM (SELECT pile FROM job WHERE state = 'queued' ORDER BY pile LIMIT 1) AS first
    UNION ALL
    SELECT (SELECT job.pile FROM job WHERE state = 'queued' AND job.pile > heap.known ORDER BY job.pile LIMIT 1)
    FROM heap WHERE heap.known IS NOT NULL
)
SELECT known, (SELECT job.id FROM job WHERE state = 'queued' AND job.pile = heap.known LIMIT 1) AS job_id
FROM heap WHERE known IS NOT NULL
"""
PILES_OPEN = text(f"""
SELECT known FROM ({_PILES}) AS piles
WHERE NOT EXISTS (SELECT 1 FROM deferral WHERE deferral.job_id = piles.job_id AND deferral.owner = :owner)
""").bindparams(bindparam("owner"))  # noqa: S608 - no text from outside


def name_of(owners: Collection[str]) -> str:
    """The pile of what exactly these daemons have deferred. It is a hash, because an index takes no list of any
    length."""
    joined = " ".join(sorted(owners))
    return hashlib.sha256(joined.encode()).hexdigest()[:NAME_CHARS] if owners else NOBODY


def open_to(connection: Connection, owner: str) -> list[str]:
    """The piles of queued jobs that `owner` has not deferred."""
    return list(connection.scalars(PILES_OPEN, {"owner": owner}))


def of_the_deferred(connection: Connection) -> list[str]:
    """The piles of queued jobs that anybody has deferred."""
    return [name for name in connection.scalars(text(_PILES)) if name != NOBODY]


def first_of(
    names: Sequence[str], count: int, order: Sequence[ColumnElement[Any]], *conditions: ColumnElement[bool]
) -> CompoundSelect[str]:
    """The ids of the first `count` jobs of each of these piles (at least one), for `IN`. `order` must be an index's."""
    first = [
        select(Job.id).where(IS_QUEUED, Job.pile == name, *conditions).order_by(*order).limit(count).subquery()
        for name in names
    ]
    if len(first) <= _JOINED:
        return union_all(*(select(one) for one in first))
    parts = batched(first, _JOINED)
    return union_all(*(select(union_all(*(select(one) for one in part)).subquery()) for part in parts))


def joined_by(connection: Connection, job_id: str, owner: str) -> str:
    """The pile for a job that `owner` defers as well. Locks the job's row, so that nobody else changes its pile
    meanwhile."""
    connection.execute(select(Job.id).where(Job.id == job_id).with_for_update())
    return name_of({*_owners(connection, job_id), owner})


def forget_some(connection: Connection, owners: Collection[str]) -> bool:
    """Forget that these daemons have deferred a few of their jobs, as if they had never seen them. False: none is left.

    Between two calls each job is in the pile of those who still have deferred it.
    """
    theirs = select(Deferral.job_id).where(Deferral.owner.in_(owners)).distinct().limit(FORGOTTEN_AT_ONCE)
    some = connection.scalars(theirs).all()
    # A daemon that defers one of them now waits for the row, and then sees what is left.
    connection.execute(select(Job.id).where(Job.id.in_(some)).order_by(Job.id).with_for_update())
    # Found by job: by the index on owners, SQLite would read everything they have deferred, each time.
    is_theirs = func.coalesce(Deferral.owner, "").in_(owners)
    connection.execute(delete(Deferral).where(Deferral.job_id.in_(some), is_theirs))
    left: dict[str, list[str]] = {job_id: [] for job_id in some}
    for job_id, owner in connection.execute(select(Deferral.job_id, Deferral.owner).where(Deferral.job_id.in_(some))):
        left[job_id].append(owner)
    piles: dict[str, list[str]] = {}
    for job_id, names in left.items():
        piles.setdefault(name_of(names), []).append(job_id)
    for pile, job_ids in piles.items():
        # Not "in these states": by the index on states, SQLite would then read all queued jobs.
        moved = update(Job).where(Job.id.in_(job_ids), Job.state.not_in(_FINAL))
        connection.execute(moved.values(pile=pile))
    return len(some) == FORGOTTEN_AT_ONCE


def _owners(connection: Connection, job_id: str) -> Collection[str]:
    return connection.scalars(select(Deferral.owner).where(Deferral.job_id == job_id)).all()
