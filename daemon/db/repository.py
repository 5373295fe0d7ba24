"""The only way to change what the database says about a job, other than to forget it (`repository_cleanup`).

Theory of operation
-------------------
Any number of threads, processes and hosts may call these methods at once, and any of them may die or freeze at any
point.

- A state changes by one UPDATE that names the state and the fence it starts from; the row count says who won. Only
  moves that `daemon.lifecycle` allows are possible.
- Every lease adds one to the fence. Whoever holds an older fence changes nothing any more and is told so by
  `LostClaim`.
- Every method is one transaction. When its answer is lost (`StorageUnavailable`), call it again with the same
  arguments: a write that had happened is recognised by (job, fence) and not done twice. Two exceptions, both
  harmless: a lease that was granted without an answer goes back (`reconcile`), and an event may be noted twice.
- Leases begin and end by the database's clock; no other clock is compared with them.
- Attempts are counted when a lease is taken, before anything runs, so that a bundle which kills daemons runs out of
  them. Who takes a lease only to end the job runs nothing: such a lease is none of its attempts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from operator import attrgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from daemon.callers import NOBODY, Callers, Sender
from daemon.db import piles
from daemon.db import repository_leases as leases
from daemon.db import repository_publication as publication
from daemon.db import repository_registration as registration
from daemon.db import repository_rows as rows
from daemon.db.connection import Database
from daemon.db.models import Job
from daemon.db.records import Description, Expired, Lease, NewJob, Published
from daemon.db.sqlfunctions import now
from daemon.errors import LostClaim
from daemon.lifecycle import JobState


class Repository:
    """Writes of one daemon about jobs. Safe to share between threads. Raises `StorageUnavailable` and `StorageRefused`
    everywhere.
    """

    def __init__(self, database: Database, *, max_attempts: int = 3) -> None:
        """`max_attempts`: a job is leased at most so often before it is broken."""
        self._database = database
        self.max_attempts = max_attempts

    def register(self, job: NewJob) -> bool:
        """Put a claimed bundle into the queue. True: it was put there now, or revived after it had been withdrawn.

        By job id: any number of callers, one job. False when it is there in any other state; nothing is changed then.
        Of two jobs that name the same entry in `work/`, the second raises `StorageRefused`.
        """
        with self._database.write() as connection:
            return registration.register(connection, job)

    def moved(self, job_id: str, old: str, new: str) -> bool:
        """Write down that the bundle of a job lies in `work/` as `new` now. False: it was not there as `old`, or the
        job has ended."""
        open_states = (JobState.QUEUED, *rows.HELD)
        statement = update(Job).where(Job.id == job_id, Job.work_name == old, Job.state.in_(open_states))
        with self._database.write() as connection:
            return connection.execute(statement.values(work_name=new)).rowcount == 1

    def register_leased(self, job: NewJob, owner: str, lease_s: float) -> Lease | None:
        """`register` and `lease` in one step, so that nobody else can lease the job in between. None as for `lease`,
        and when the job of this id is that of another entry in `work/`."""
        with self._database.write() as connection:
            if not registration.register(connection, job) and not registration.is_of(connection, job):
                return None
            return leases.take(connection, job.job_id, owner, lease_s, self.max_attempts)

    def register_seized(self, job: NewJob, owner: str, lease_s: float) -> Lease | None:
        """The same for who only ends the job: however often it was tried, and that attempt does not count."""
        with self._database.write() as connection:
            if not registration.register(connection, job) and not registration.is_of(connection, job):
                return None
            return leases.take_to_end(connection, job.job_id, owner, lease_s)

    def describe(self, job_id: str, description: Description) -> bool:
        """Fill in what the contract says. False when the job is unknown or final: such rows never change."""
        with self._database.write() as connection:
            return registration.describe(connection, job_id, description)

    def lease_next(
        self,
        owner: str,
        lease_s: float,
        turns: Sequence[Sender] = (),
        *,
        callers: Callers = NOBODY,
        oldest: bool = False,
        passed_over: Collection[str] = (),
        not_of: Collection[Sender] = (),
    ) -> Lease | None:
        """Lease the waiting job of highest priority, of these the oldest: queued -> claimed. None: nothing to do.

        - `oldest`: the oldest of all instead, whatever its priority.
        - `turns`: submitters in the order in which they come at equal priority, after all who are not named.
        - `callers`: each is a submitter of its own, here and in `not_of`.

        Every job goes to exactly one caller of this method. `owner` names the process (host-boot-pid); the lease lasts
        `lease_s` seconds by the database's clock. Passed over are the few jobs of `passed_over`, all jobs of the
        submitters `not_of`, jobs that `owner` has deferred, jobs that used up `max_attempts`, and, on Postgres, rows
        that another caller is just leasing.
        """
        with self._database.write() as connection:
            open_piles = piles.open_to(connection, owner)
            if not open_piles:
                return None
            query = leases.next_waiting(
                tuple(open_piles),
                self.max_attempts,
                tuple(turns),
                tags=tuple(callers.names),
                server_uid=callers.server_uid,
                oldest=oldest,
                passed_over=bool(passed_over),
                not_of=bool(not_of),
            )
            given = {"passed_over": list(passed_over), "not_of": [leases.whose(sender) for sender in not_of]}
            job_id = connection.scalar(query, {name: values for name, values in given.items() if values})
            return None if job_id is None else leases.take(connection, job_id, owner, lease_s, self.max_attempts)

    def lease(self, job_id: str, owner: str, lease_s: float) -> Lease | None:
        """As `lease_next` for one given job. None when it is not waiting, or has used up its attempts."""
        with self._database.write() as connection:
            return leases.take(connection, job_id, owner, lease_s, self.max_attempts)

    def seize(self, job_id: str, owner: str, lease_s: float) -> Lease | None:
        """Take a job that has not ended from whoever holds it, to end it. Neither attempt counts. None: it has ended,
        its bundle is back in the inbox, or nobody knows it."""
        with self._database.write() as connection:
            return leases.seize(connection, job_id, owner, lease_s)

    def seize_many(
        self, jobs: Iterable[NewJob], job_ids: Iterable[str], owner: str, lease_s: float
    ) -> tuple[Lease, ...]:
        """In one step: `register` all `jobs`, then `seize` them and `job_ids`. Returns the leases, in this order, of
        those that could be seized."""
        with self._database.write() as connection:
            registered = [
                job.job_id
                for job in sorted(jobs, key=attrgetter("job_id"))
                if registration.register(connection, job) or registration.is_of(connection, job)
            ]
            wanted = list(dict.fromkeys([*registered, *job_ids]))
            in_order = sorted(wanted)  # locked in one order, so that two callers cannot deadlock
            seized = {job_id: leases.seize(connection, job_id, owner, lease_s) for job_id in in_order}
        return tuple(lease for job_id in wanted if (lease := seized[job_id]) is not None)

    def start(self, lease: Lease, description: Description | None = None) -> None:
        """Claimed -> running, and `describe` with it. Calling it again changes nothing. Raises `LostClaim`."""
        with self._database.write() as connection:
            if description is not None:
                registration.describe(connection, lease.job_id, description)
            leases.start(connection, lease)

    def heartbeat(self, lease: Lease, lease_s: float, progress: str | None = None) -> datetime:
        """Extend the lease to `lease_s` seconds from now and answer its new end. Raises `LostClaim`: kill what you run.

        A lease that is over but that nobody has taken back yet is extended as well. `progress` is text for people.
        """
        values: dict[str, Any] = {"lease_until": now(lease_s)}
        if progress is not None:
            values["progress"] = progress
        # A server that has lost what it wrote last may give the same fence away again, to another daemon.
        held = (Job.state.in_(rows.HELD), Job.fence == lease.fence, Job.lease_owner == lease.owner)
        statement = update(Job).where(Job.id == lease.job_id, *held)
        with self._database.write() as connection:
            until: datetime | None = connection.scalar(statement.values(**values).returning(Job.lease_until))
        if until is None:
            raise leases.lost(lease)
        return until

    def publish(self, lease: Lease, published: Published) -> bool:
        """Claimed or running -> finished: verdict, result document, evaluations, samples, metrics, environment; all
        or none.

        Exactly one publication per job ever succeeds. False when this very lease had published before (its answer was
        lost). Raises `LostClaim` when the lease no longer counts, `HarnessError` for a document JSON cannot say.
        """
        with self._database.write() as connection:
            return publication.publish(connection, lease, published)

    def publish_many(self, ends: Iterable[tuple[Lease, Published]]) -> set[str]:
        """`publish` many in one step. Returns those whose lease counted, including those that this very lease had
        published before. Nothing changes for the others."""
        counted = set()
        with self._database.write() as connection:
            for lease, published in sorted(ends, key=lambda end: end[0].job_id):
                with suppress(LostClaim):
                    publication.publish(connection, lease, published)
                    counted.add(lease.job_id)
        return counted

    def retry(self, lease: Lease, reason: str) -> JobState:
        """After a harness fault: back to queued, or broken when this was the last attempt. Answers which.

        Calling it again answers the same. Raises `LostClaim` when the lease no longer counts.
        """
        with self._database.write() as connection:
            return leases.retry(connection, lease, reason, self.max_attempts)

    def put_back(self, lease: Lease, reason: str) -> None:
        """Back to queued: nothing of the job was begun, and `reason` says why. The attempt does not count.

        Calling it again changes nothing. Raises `LostClaim` when the lease no longer counts.
        """
        with self._database.write() as connection:
            leases.put_back(connection, lease, reason)

    def defer(self, lease: Lease, reason: str, description: Description | None = None) -> bool:
        """Back to queued: no device of this lease's owner can ever serve the job, and `reason` says why. `describe` is
        done with it.

        The attempt does not count. That owner does not get the job from `lease_next` again while it lives; any other
        may. A deferral ends with its daemon, and when the bundle goes back to the inbox. False when this very lease had
        been deferred before. Raises `LostClaim` when it no longer counts.
        """
        with self._database.write() as connection:
            if description is not None:
                registration.describe(connection, lease.job_id, description)
            return leases.defer(connection, lease, reason)

    def withdraw(self, held: Lease | str) -> bool:
        """Queued, claimed or running -> withdrawn: the bundle went back to the inbox. The attempt does not count.

        With a lease: only while it counts, else `LostClaim`. With a job id: whoever holds it loses it. False when it is
        withdrawn already; `LostClaim` when it is final or unknown. `register` with the same id revives it.
        """
        with self._database.write() as connection:
            return leases.withdraw(connection, held)

    def expire(self) -> tuple[Expired, ...]:
        """Take back every job whose lease is over by the database's clock.

        Back to queued, or broken when no attempt is left; the fence moves on, so the holder publishes nothing any
        more. Any number of callers: each job is in the answer of one of them.
        """
        return self._take_back(Job.lease_until < now(), "lease ran out")

    def abandon(self, owner: str) -> tuple[Expired, ...]:
        """As `expire` without waiting for the leases of `owner`. Only for an owner proved dead (this host, its pid
        gone).
        """
        return self._take_back(Job.lease_owner == owner, "its daemon died")

    def break_exhausted(self) -> tuple[Expired, ...]:
        """Queued -> broken for every job that was tried `max_attempts` times: nobody would ever lease it. That happens
        to a job that waits for another attempt while the setting is lowered.

        Any number of callers: each job is in the answer of one of them, with an empty `owner`.
        """
        with self._database.read() as connection:  # a long queue is gone through without holding up who writes
            some = select(Job.id).where(leases.is_exhausted(self.max_attempts)).limit(1)
            if connection.scalar(some) is None:
                return ()
        return self._in_batches(lambda connection: leases.break_exhausted(connection, self.max_attempts))

    def attach_result(self, job_id: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Give a broken job the result document that it ended without. Returns the document that counts: another one,
        if the job has one already. A job that is not broken is left as it is."""
        is_bare = (Job.id == job_id, Job.state == JobState.BROKEN, Job.result_json.is_(None))
        with self._database.write() as connection:
            values = {"result_json": rows.result_text(job_id, document)}
            connection.execute(update(Job).where(*is_bare).values(**values))
            text = connection.scalar(select(Job.result_json).where(Job.id == job_id))
        return document if text is None else json.loads(text)

    def _take_back(self, which: ColumnElement[bool], reason: str) -> tuple[Expired, ...]:
        return self._in_batches(lambda connection: leases.take_back(connection, which, reason, self.max_attempts))

    def _in_batches(self, take_some: Callable[[Connection], list[Expired]]) -> tuple[Expired, ...]:
        taken: list[Expired] = []
        while True:
            with self._database.write() as connection:
                batch = take_some(connection)
            taken.extend(batch)
            if len(batch) < leases.TAKE_BACK_BATCH:
                return tuple(taken)
