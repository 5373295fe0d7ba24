"""The tables. `migrations/versions` must say the same: a test compares the two on both databases.

What can be an invariant is one here:

- which states there are
- exactly claimed and running jobs have a lease
- exactly finished and broken jobs have a verdict and an end
- one number and one fence per attempt
- one job per entry in `work/`
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    ColumnElement,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.orm import DeclarativeBase, InstrumentedAttribute, Mapped, mapped_column

from daemon.db.columns import RowId, SafeJson, SafeText, UtcDateTime, choice
from daemon.db.daemon_records import DaemonState
from daemon.db.records import AttemptOutcome
from daemon.lifecycle import JobState
from daemon.verdict import Comparison, Phase, Side, Verdict

HEX_ID = 32
HEX_SHA256 = 64

# Written out as literals, not parameters: SQLite uses a partial index only when the query repeats its condition word
# by word.
IS_QUEUED = text("state = 'queued'")
IS_FINISHED = text("finished_at IS NOT NULL")
IS_JUDGED = text("verdict IS NOT NULL")


_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_TYPES = {datetime: UtcDateTime(), str: SafeText(), dict[str, Any]: SafeJson(), list[Any]: SafeJson()}


class Base(DeclarativeBase):
    """Every constraint has a name, so that a later revision can change it on both databases."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = _TYPES


class Bundle(Base):
    """What was dropped. Its id is the job's id."""

    __tablename__ = "bundle"

    id: Mapped[str] = mapped_column(String(HEX_ID), primary_key=True)
    dropped_name: Mapped[str]
    submitter_uid: Mapped[int | None] = mapped_column(RowId)
    dropped_at: Mapped[datetime]
    size_bytes: Mapped[int] = mapped_column(RowId)
    file_count: Mapped[int | None]
    source_sha256: Mapped[str | None] = mapped_column(String(HEX_SHA256), index=True)
    contract_sha256: Mapped[str | None] = mapped_column(String(HEX_SHA256))
    contract_json: Mapped[str | None]

    __table_args__ = (Index("ix_bundle_dropped_name", "dropped_name", "dropped_at", "id"),)


class Environment(Base):
    """Where evaluations ran; equal environments are one row, found by the hash of their content."""

    __tablename__ = "environment"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    content_sha256: Mapped[str] = mapped_column(String(HEX_SHA256), unique=True)
    device: Mapped[str]
    device_name: Mapped[str | None]
    device_uuid: Mapped[str | None]
    driver: Mapped[str | None]
    cuda: Mapped[str | None]
    torch: Mapped[str | None]
    triton: Mapped[str | None]
    cpu: Mapped[str | None]
    isolation: Mapped[str]
    evald: Mapped[str]
    details: Mapped[dict[str, Any]]


class Job(Base):
    """One bundle on its way to one verdict. States and moves: `daemon.lifecycle`.

    `pile`: the jobs that the same daemons have deferred, "" for nobody (`daemon.db.piles`).
    """

    __tablename__ = "job"

    id: Mapped[str] = mapped_column(ForeignKey("bundle.id"), primary_key=True)
    name: Mapped[str]
    problem: Mapped[str | None]
    labels: Mapped[dict[str, Any]] = mapped_column(default=dict)
    kind: Mapped[str | None] = mapped_column(String(24))
    kernel_type: Mapped[str | None] = mapped_column(String(64))
    ref_kernel_type: Mapped[str | None] = mapped_column(String(64))
    requires_gpu: Mapped[str | None] = mapped_column(String(64))
    submitter_uid: Mapped[int | None] = mapped_column(RowId)
    priority: Mapped[int] = mapped_column(default=0)
    state: Mapped[JobState] = mapped_column(choice(JobState, "state"))
    fence: Mapped[int] = mapped_column(RowId, default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    lease_owner: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    work_name: Mapped[str | None] = mapped_column(unique=True)
    pile: Mapped[str] = mapped_column(String(HEX_ID), default="", server_default="")
    progress: Mapped[str | None]
    dropped_at: Mapped[datetime]
    created_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    verdict: Mapped[Verdict | None] = mapped_column(choice(Verdict, "verdict"))
    phase: Mapped[Phase | None] = mapped_column(choice(Phase, "phase"))
    message: Mapped[str | None]
    runtime_ms: Mapped[float | None]
    ref_runtime_ms: Mapped[float | None]
    speedup: Mapped[float | None]
    queue_ms: Mapped[float | None]
    evaluate_ms: Mapped[float | None]
    environment_id: Mapped[int | None] = mapped_column(ForeignKey("environment.id"))
    result_json: Mapped[str | None]

    __table_args__ = (
        CheckConstraint(f"length(id) = {HEX_ID}", name="id_length"),
        CheckConstraint("fence >= 0 AND attempts >= 0", name="counters"),
        CheckConstraint("(state IN ('claimed', 'running')) = (lease_until IS NOT NULL)", name="lease_until"),
        CheckConstraint("(state IN ('claimed', 'running')) = (lease_owner IS NOT NULL)", name="lease_owner"),
        CheckConstraint("(state IN ('finished', 'broken')) = (verdict IS NOT NULL)", name="verdict_when_final"),
        CheckConstraint("(state IN ('finished', 'broken')) = (finished_at IS NOT NULL)", name="finished_at_when_final"),
        CheckConstraint("state <> 'finished' OR result_json IS NOT NULL", name="result_when_finished"),
        Index("ix_job_name", "name", "created_at", "id"),
        Index("ix_job_problem", "problem", "created_at", "id"),
        Index("ix_job_state", "state", "created_at", "id"),
        Index("ix_job_verdict", "verdict", "created_at", "id", sqlite_where=IS_JUDGED, postgresql_where=IS_JUDGED),
        Index("ix_job_created_at", "created_at", "id"),
        Index("ix_job_lease_until", "lease_until"),
        Index("ix_job_lease_owner", "lease_owner"),
    )


def _queue_index(name: str, *order: Any) -> Index:
    """The index of the queue. `state` stands first although every entry has the same one: without it SQLite prefers
    `ix_job_state`, and sorts the whole queue. Then comes the pile (`daemon.db.piles`): whoever may not lease from a
    pile never reads it."""
    columns = (Job.state, Job.pile, *order)
    return Index(name, *columns, sqlite_where=IS_QUEUED, postgresql_where=IS_QUEUED)


_queue_index("ix_job_next", Job.priority.desc(), Job.created_at, Job.id)
_queue_index("ix_job_oldest", Job.created_at, Job.id)

# Wide on purpose: `stats` goes through a million finished jobs in the order of its groups and never touches the table.
_FIGURES = (Job.verdict, Job.runtime_ms, Job.speedup, Job.evaluate_ms, Job.queue_ms, Job.finished_at)


def _stats_index(name: str, *columns: InstrumentedAttribute[Any]) -> Index:
    return Index(f"ix_job_{name}", *columns, sqlite_where=IS_FINISHED, postgresql_where=IS_FINISHED)


_stats_index("stats_verdict", *_FIGURES)
_stats_index("stats_problem", Job.problem, *_FIGURES)
_stats_index("stats_name", Job.name, *_FIGURES)
_stats_index("stats_kernel_type", Job.kernel_type, *_FIGURES)
_stats_index("stats_submitter_uid", Job.submitter_uid, *_FIGURES)
_stats_index("stats_finished_at", Job.finished_at, *_FIGURES[:-1], Job.environment_id)


class Attempt(Base):
    """One lease of a job. `number` is NULL for an attempt that does not count."""

    __tablename__ = "attempt"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    fence: Mapped[int] = mapped_column(RowId)
    number: Mapped[int | None]
    owner: Mapped[str]
    leased_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[AttemptOutcome | None] = mapped_column(choice(AttemptOutcome, "outcome"))
    reason: Mapped[str | None]

    __table_args__ = (
        UniqueConstraint("job_id", "fence"),
        UniqueConstraint("job_id", "number"),
        CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name="outcome_when_ended"),
    )


class Evaluation(Base):
    """One case of a finished job."""

    __tablename__ = "evaluation"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    position: Mapped[int]
    case_name: Mapped[str]
    bind: Mapped[dict[str, Any]]
    verdict: Mapped[Verdict] = mapped_column(choice(Verdict, "verdict"))
    phase: Mapped[Phase] = mapped_column(choice(Phase, "phase"))
    message: Mapped[str | None]
    failed_side: Mapped[Side | None] = mapped_column(choice(Side, "failed_side"))
    compiled: Mapped[bool]
    correct: Mapped[bool | None]
    trials_passed: Mapped[int]
    trials_total: Mapped[int]
    max_abs_error: Mapped[float | None]
    max_rel_error: Mapped[float | None]
    runtime_ms: Mapped[float | None]
    ref_runtime_ms: Mapped[float | None]
    speedup: Mapped[float | None]
    comparison: Mapped[Comparison | None] = mapped_column(choice(Comparison, "comparison"))
    compile_ms: Mapped[float | None]
    details: Mapped[dict[str, Any]]

    __table_args__ = (UniqueConstraint("job_id", "position"),)


class Statistics(Base):
    """How one kernel of one case was timed. Milliseconds per call unless the name says otherwise."""

    __tablename__ = "statistics"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id", ondelete="CASCADE"), primary_key=True)
    side: Mapped[Side] = mapped_column(choice(Side, "side"), primary_key=True)
    mean_ms: Mapped[float]
    std_ms: Mapped[float]
    min_ms: Mapped[float]
    max_ms: Mapped[float]
    median_ms: Mapped[float]
    percentile_95_ms: Mapped[float]
    percentile_99_ms: Mapped[float]
    mode: Mapped[str]
    stop: Mapped[str]
    sample_count: Mapped[int]
    rse: Mapped[float | None]
    target_rse: Mapped[float]
    c0_us: Mapped[float]
    c0_slope_us: Mapped[float]
    isolated_ms: Mapped[float | None]
    line_fit_residual: Mapped[float | None]
    inside_ms: Mapped[float | None]
    copy_ms: Mapped[float | None]
    footprint_bytes: Mapped[int] = mapped_column(RowId)
    labels: Mapped[list[Any]]


class Sample(Base):
    """The raw samples behind one row of `statistics`, packed as `daemon.db.samples` says."""

    __tablename__ = "sample"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id", ondelete="CASCADE"), primary_key=True)
    side: Mapped[Side] = mapped_column(choice(Side, "side"), primary_key=True)
    samples_ms: Mapped[bytes] = mapped_column(LargeBinary)
    calls: Mapped[bytes] = mapped_column(LargeBinary)


class Metric(Base):
    """One further figure about one kernel of one case."""

    __tablename__ = "metric"

    evaluation_id: Mapped[int] = mapped_column(ForeignKey("evaluation.id", ondelete="CASCADE"), primary_key=True)
    side: Mapped[Side] = mapped_column(choice(Side, "side"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    value: Mapped[float]
    unit: Mapped[str] = mapped_column(String(24))


class Daemon(Base):
    """One daemon process, as it last told about itself. `owner` is what its leases carry; times are the database's.

    `devices`: a list of `DeviceState` as JSON; NULL in a row that was written before there was this column.
    """

    __tablename__ = "daemon"

    owner: Mapped[str] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(index=True)
    pid: Mapped[int]
    version: Mapped[str]
    slots: Mapped[int]
    inbox: Mapped[str]
    lease_s: Mapped[float]
    state: Mapped[DaemonState] = mapped_column(choice(DaemonState, "state"))
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    devices: Mapped[list[Any] | None]


class Deferral(Base):
    """A job that the daemon `owner` gave back to the queue because none of its devices can ever serve it."""

    __tablename__ = "deferral"

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True, index=True)
    reason: Mapped[str]
    at: Mapped[datetime]


class Drain(Base):
    """A host whose daemons take no new jobs. It stays one while they are restarted."""

    __tablename__ = "drain"

    host: Mapped[str] = mapped_column(primary_key=True)
    since: Mapped[datetime]


class Property(Base):
    """Something about the database itself. `id`: 32 hex digits, made with it and kept by every copy of it."""

    __tablename__ = "property"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str]


class Event(Base):
    """Something that happened, by the database clock."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(RowId, primary_key=True)
    job_id: Mapped[str | None] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40))
    detail: Mapped[str | None]

    __table_args__ = (Index("ix_event_job_id", "job_id", "id"),)


def had_no_reference() -> ColumnElement[bool]:
    """Whether a job's answers were compared with nothing. Such jobs are ranked behind the others, because a kernel that
    does nothing is the fastest."""
    return func.coalesce(Job.kind, "") == "evaluate"
