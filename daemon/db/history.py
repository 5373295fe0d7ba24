"""Questions about jobs. Reads only. Imports neither alembic nor torch."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, select, union_all

from daemon.batches import batched
from daemon.callers import NOBODY, Callers, Sender
from daemon.db import piles, ranking
from daemon.db.activity import activity
from daemon.db.columns import storable
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonRecord, host_of
from daemon.db.models import (
    IS_QUEUED,
    Attempt,
    Bundle,
    Daemon,
    Deferral,
    Drain,
    Evaluation,
    Event,
    Job,
    Property,
    Sample,
)
from daemon.db.models import Metric as MetricRow
from daemon.db.pages import HEX, NEWEST_FIRST, Wanted, page
from daemon.db.record_rows import (
    EVALUATION_FIELDS,
    LEASE_COLUMNS,
    WHEREABOUTS,
    daemon_record,
    evaluation_record,
    job_with_document,
    jobs_with_document,
)
from daemon.db.records import (
    AttemptRecord,
    ContractFacts,
    DeferralRecord,
    EvaluationRecord,
    EventRecord,
    Glance,
    JobPage,
    JobRecord,
    Lease,
    Whereabouts,
)
from daemon.db.sqlfunctions import now
from daemon.db.statistics import GroupBy, leaderboard, stats
from daemon.db.statistics_records import Activity, Standing, StatsRow
from daemon.errors import OperatorError
from daemon.lifecycle import UNFINISHED, JobState
from daemon.verdict import Verdict

IDHEX_DIGITS = 32
AMBIGUOUS_SHOWN = 5
_EVENTS = 1000
_IDS_AT_ONCE = 500
_WITHOUT_RESULT = 200
_DEFERRALS = (
    select(Deferral.job_id, Job.name, Deferral.owner, Deferral.reason, Deferral.at)
    .join(Job, Job.id == Deferral.job_id)
    .order_by(*piles.BY_PRIORITY, Deferral.owner)
)


class History:
    """Answers from one database. Safe to share between threads. Raises `StorageUnavailable` and `StorageRefused`
    everywhere.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def database_id(self) -> str:
        """Which database this is, wherever it lies: 32 hex digits."""
        with self._database.read() as connection:
            return connection.execute(select(Property.value).where(Property.name == "id")).scalar_one()

    def is_new(self) -> bool:
        """Whether it holds no job, and knows of no daemon."""
        with self._database.read() as connection:
            return all(connection.scalar(select(key).limit(1)) is None for key in (Job.id, Daemon.owner))

    def daemons(self) -> tuple[DaemonRecord, ...]:
        """Every daemon that is known, by host, the latest start first."""
        drained = select(Drain.host).where(Drain.host == Daemon.host).exists()
        columns = (*Daemon.__table__.columns, now().label("read_at"), drained.label("is_drained"))
        statement = select(*columns).order_by(Daemon.host, Daemon.started_at.desc(), Daemon.owner)
        with self._database.read() as connection:
            return tuple(daemon_record(row) for row in connection.execute(statement))

    def is_there(self, owner: str) -> bool:
        """Whether the daemon `owner` is known, and neither stopped nor missing."""
        return any(daemon.owner == owner and daemon.is_there for daemon in self.daemons())

    def drained_hosts(self) -> dict[str, datetime]:
        """Hosts that take no new jobs, and since when; also those without any daemon."""
        with self._database.read() as connection:
            return {row.host: row.since for row in connection.execute(select(Drain.host, Drain.since))}

    def job(self, job_id: str) -> JobRecord | None:
        """The job with this id, or the only one whose id begins so; with its result document. None: there is none.

        Raises `OperatorError` naming the candidates when several begin so.
        """
        prefix = job_id.strip().lower()
        if not HEX.fullmatch(prefix):
            return None
        low, high = prefix.ljust(IDHEX_DIGITS, "0"), prefix.ljust(IDHEX_DIGITS, "f")
        statement = jobs_with_document().where(Job.id.between(low, high)).order_by(Job.id).limit(AMBIGUOUS_SHOWN + 1)
        with self._database.read() as connection:
            found = connection.execute(statement).all()
        if len(found) > 1:
            shown = ", ".join(row.job_id for row in found[:AMBIGUOUS_SHOWN])
            raise OperatorError(f"{len(found)} or more jobs begin with {prefix!r}: {shown}", hint="give more digits")
        return job_with_document(found[0]) if found else None

    def glances(self, job_ids: Collection[str]) -> dict[str, Glance]:
        """How far these jobs are, by their whole ids; unknown ones are left out."""
        glances = select(Job.id, Job.state, Job.progress, Job.verdict, Job.result_json.is_not(None))
        return {row[0]: Glance(*row) for row in self._of_jobs(glances, job_ids)}

    def whereabouts(self, job_ids: Collection[str]) -> dict[str, Whereabouts]:
        """Where these jobs are, by their whole ids; unknown ones are left out."""
        return {row[0]: Whereabouts(*row) for row in self._of_jobs(WHEREABOUTS, job_ids)}

    def where_is(self, job_id: str) -> Whereabouts | None:
        """The same of one; None where there is no such job."""
        return self.whereabouts([job_id]).get(job_id)

    def contracts_of(self, job_ids: Collection[str]) -> dict[str, ContractFacts]:
        """What an attempt has found in the contracts of these jobs; empty facts where none has. Unknown jobs are left
        out."""
        columns = (Job.id, Job.problem, Job.labels, Bundle.source_sha256, Bundle.contract_sha256)
        statement = select(*columns).join(Bundle, Bundle.id == Job.id)
        return {job_id: ContractFacts(*facts) for job_id, *facts in self._of_jobs(statement, job_ids)}

    def contract_of(self, job_id: str) -> ContractFacts:
        """The same of one."""
        return self.contracts_of([job_id]).get(job_id, ContractFacts())

    def held_by(self, owner: str) -> tuple[Lease, ...]:
        """The leases of `owner`, oldest first, including those that are over and not taken back."""
        statement = select(*LEASE_COLUMNS).where(Job.lease_owner == owner).order_by(Job.claimed_at, Job.id)
        with self._database.read() as connection:
            return tuple(Lease(**row._mapping) for row in connection.execute(statement))

    def _of_jobs(self, statement: Select[*tuple[Any, ...]], job_ids: Collection[str]) -> Iterator[Any]:
        """Its rows of these jobs, in short transactions, however many there are."""
        for some in batched(list(job_ids), _IDS_AT_ONCE):
            with self._database.read() as connection:
                yield from connection.execute(statement.where(Job.id.in_(some))).all()

    def without_result(self) -> tuple[str, ...]:
        """The ids of some jobs that have ended and have no result document, the oldest first."""
        statement = select(Job.id).where(Job.state == JobState.BROKEN, Job.result_json.is_(None))
        with self._database.read() as connection:
            return tuple(connection.scalars(statement.order_by(Job.created_at, Job.id).limit(_WITHOUT_RESULT)))

    def unfinished_ending_in(self, suffix: str, submitter_uid: int) -> set[str]:
        """The ids of this submitter's unfinished jobs that end in these hex digits."""
        theirs = (Job.state.in_(UNFINISHED), Job.submitter_uid == submitter_uid, Job.id.endswith(suffix))
        with self._database.read() as connection:
            return set(connection.scalars(select(Job.id).where(*theirs)))

    def newest(self, name: str, dropped_as: Sequence[str] = ()) -> JobRecord | None:
        """The job that was registered last, of those whose contract has this name, or whose bundle was dropped under
        one of the names `dropped_as`; with its result document."""
        last_dropped = (Bundle.dropped_at.desc(), Bundle.id.desc())
        found = [select(Job.id).where(Job.name == storable(name)).order_by(*NEWEST_FIRST).limit(1)]
        for dropped in dropped_as:
            of_bundles = select(Bundle.id).where(Bundle.dropped_name == storable(dropped))
            found.append(of_bundles.order_by(*last_dropped).limit(1))
        statement = jobs_with_document().where(Job.id.in_(union_all(*(select(one.subquery()) for one in found))))
        statement = statement.order_by(*NEWEST_FIRST).limit(1)
        with self._database.read() as connection:
            row = connection.execute(statement).one_or_none()
        return None if row is None else job_with_document(row)

    def jobs(
        self,
        *,
        state: JobState | Sequence[JobState] | None = None,
        name: str | None = None,
        problem: str | None = None,
        verdict: Verdict | None = None,
        label: tuple[str, str] | None = None,
        since: datetime | None = None,
        ending_in: str | None = None,
        submitter_uid: int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> JobPage:
        """Jobs registered at or after `since`, newest first, that match every filter given. `label`: (key, value);
        `ending_in`: the last hex digits of their ids.

        Raises `OperatorError` for a cursor that is not one of ours.
        """
        wanted = Wanted(name, problem, verdict, label, since, ending_in, submitter_uid)
        states = (state,) if isinstance(state, JobState) else state
        with self._database.read() as connection:
            return page(connection, wanted, states, limit, cursor)

    def counts_by_state(self, states: Collection[JobState] = tuple(JobState)) -> dict[JobState, int]:
        """How many jobs are in each of these states; every state is a key. Those that have ended are counted each time:
        a tenth of a second for a million."""
        counted = select(Job.state, func.count()).where(Job.state.in_(states)).group_by(Job.state)
        with self._database.read() as connection:
            found = connection.execute(counted).all()
        return dict.fromkeys(states, 0) | {state: count for state, count in found}

    def waiting_for(self, owner: str, *, at_most: int) -> int:
        """How many queued jobs the daemon `owner` may yet lease: those it has not deferred. Counts up to `at_most`."""
        with self._database.read() as connection:
            mine = Job.pile.in_(piles.open_to(connection, owner))
            some = select(Job.id).where(IS_QUEUED, mine).limit(at_most).subquery()
            return connection.scalar(select(func.count()).select_from(some)) or 0

    def unfinished_by_submitter(self, callers: Callers = NOBODY) -> dict[Sender, int]:
        """How many claimed bundles of each submitter have no result yet. Each of `callers` is a submitter of its
        own."""
        tag = ranking.caller(callers.names, callers.server_uid).label("tag")
        whose = (Job.submitter_uid, tag) if callers.names else (Job.submitter_uid,)
        statement = select(Job.submitter_uid, tag, func.count()).where(Job.state.in_(UNFINISHED)).group_by(*whose)
        with self._database.read() as connection:
            return {(uid, tag): count for uid, tag, count in connection.execute(statement)}

    def unfinished(self) -> int:
        """The same of all of them."""
        return sum(self.unfinished_by_submitter().values())

    def deferrals(self, *, limit: int = 1000) -> tuple[DeferralRecord, ...]:
        """Why queued jobs are passed over, and by whom: in the order the jobs would be leased."""
        with self._database.read() as connection:
            if not (names := piles.of_the_deferred(connection)):
                return ()
            first = piles.first_of(names, limit, piles.BY_PRIORITY)
            found = connection.execute(_DEFERRALS.where(Job.id.in_(first)).limit(limit)).all()
        return tuple(_deferral_record(row) for row in found)

    def deferrals_of(self, job_ids: Collection[str]) -> tuple[DeferralRecord, ...]:
        """As `deferrals`, of these jobs only, given by their whole ids, as far as they are queued."""
        return tuple(_deferral_record(row) for row in self._of_jobs(_DEFERRALS.where(IS_QUEUED), job_ids))

    def last_finished_at(self) -> datetime | None:
        """When a job ended last; None: none has."""
        with self._database.read() as connection:
            return connection.scalar(select(func.max(Job.finished_at)).where(Job.finished_at.is_not(None)))

    def stats(
        self,
        since: datetime | None = None,
        by: GroupBy | str = GroupBy.VERDICT,
        *,
        limit: int | None = None,
        callers: Callers = NOBODY,
    ) -> tuple[StatsRow, ...]:
        """Finished and broken jobs in groups, the largest first (days: the latest first). Aggregated by the database.

        With `limit`, so many groups: the others are counted, but nothing else is computed for them. Each of `callers`
        is a submitter of its own, and groups by its name. Raises `OperatorError` for a `by` that is not one of
        `GroupBy`.
        """
        with self._database.read() as connection:
            return stats(connection, since, by, limit, callers)

    def activity(self, window: timedelta) -> Activity:
        """What was done in the last `window`: how jobs ended, how long the parts took, how busy the daemons were."""
        with self._database.read() as connection:
            return activity(connection, window)

    def leaderboard(
        self,
        problem: str,
        *,
        device_name: str | None = None,
        limit: int = 50,
        per_submitter: int | None = None,
        callers: Callers = NOBODY,
    ) -> tuple[Standing, ...]:
        """The fastest bundle of each name of each submitter in `problem`, up to `limit` for each device, or for the one
        given. Device by device, because times of different devices are not compared; the fastest first.

        - Of a bundle that has passed more than once, the run in the middle counts. Runs that failed are told.
        - Nobody takes the place of a kernel by dropping another one of its name.
        - Kernels that were compared with nothing come last.
        - `per_submitter`: at most so many of each submitter on each device, because names cost nothing.
        - `callers`: each is a submitter of its own, although one user drops all their bundles.
        """
        with self._database.read() as connection:
            return leaderboard(connection, storable(problem), device_name, limit, per_submitter, callers)

    def events(self, job_id: str | None) -> tuple[EventRecord, ...]:
        """What happened to the job (None: to the service), the latest thousand of it, in order."""
        mine = Event.job_id.is_(None) if job_id is None else Event.job_id == job_id
        statement = select(Event.job_id, Event.at, Event.kind, Event.detail).where(mine)
        with self._database.read() as connection:
            found = connection.execute(statement.order_by(Event.id.desc()).limit(_EVENTS)).all()
        return tuple(EventRecord(*row) for row in reversed(found))

    def attempts(self, job_id: str) -> tuple[AttemptRecord, ...]:
        """Every lease of the job, in order."""
        columns = (Attempt.job_id, Attempt.fence, Attempt.number, Attempt.owner, Attempt.leased_at, Attempt.ended_at)
        statement = select(*columns, Attempt.outcome, Attempt.reason).where(Attempt.job_id == job_id)
        with self._database.read() as connection:
            return tuple(AttemptRecord(*row) for row in connection.execute(statement.order_by(Attempt.fence)))

    def evaluations(self, job_id: str) -> tuple[EvaluationRecord, ...]:
        """The cases of a finished job in order, with raw samples and metrics."""
        mine = select(Evaluation.id).where(Evaluation.job_id == job_id)
        columns = [column for column in Evaluation.__table__.columns if column.key in EVALUATION_FIELDS]
        cases = select(Evaluation.id, *columns).where(Evaluation.job_id == job_id).order_by(Evaluation.position)
        sample = select(Sample.evaluation_id, Sample.side, Sample.samples_ms, Sample.calls)
        sample = sample.where(Sample.evaluation_id.in_(mine)).order_by(Sample.side)
        metric = select(MetricRow.evaluation_id, MetricRow.name, MetricRow.value, MetricRow.unit, MetricRow.side)
        metric = metric.where(MetricRow.evaluation_id.in_(mine)).order_by(MetricRow.side, MetricRow.name)
        with self._database.read() as connection:
            found = connection.execute(cases).all()
            raw = connection.execute(sample).all()
            figures = connection.execute(metric).all()
        return tuple(evaluation_record(row._mapping, raw, figures) for row in found)


def _deferral_record(row: Row[*tuple[Any, ...]]) -> DeferralRecord:
    return DeferralRecord(**row._mapping, host=host_of(row.owner))
