"""What crosses the border of the database room: frozen, and free of SQLAlchemy. Times are aware UTC datetimes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from daemon.evaluation import Evaluation
from daemon.lifecycle import JobState
from daemon.verdict import Comparison, Phase, Side, Verdict


@dataclass(frozen=True)
class NewJob:
    """A bundle that was claimed from the inbox.

    `job_id`: 32 hex digits. `work_name`: its entry in `work/`. `priority` and `labels`: what a glance at its contract
    has told, until a `Description` says what is true.
    """

    job_id: str
    name: str
    work_name: str
    submitter_uid: int | None
    dropped_at: datetime
    size_bytes: int
    priority: int = 0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Description:
    """What the contract says, once it was parsed. `kind`: evaluate, compare or legacy. A None `name` leaves the
    dropped name.

    `contract_json` is kept up to 1 MiB. `requires_gpu` (lower case, "h200") is for people who ask what waits for which
    GPU; whether a host can serve the job, its engine says. `size_bytes` and `file_count` are of the unpacked bundle; a
    None `size_bytes` leaves that of the file that was dropped.
    """

    kind: str
    kernel_type: str
    ref_kernel_type: str | None = None
    name: str | None = None
    problem: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    source_sha256: str | None = None
    contract_sha256: str | None = None
    contract_json: str | None = None
    requires_gpu: str | None = None
    size_bytes: int | None = None
    file_count: int | None = None


@dataclass(frozen=True)
class ContractFacts:
    """What results say of a job's contract; nothing where it was never read."""

    problem: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    source_sha256: str | None = None
    contract_sha256: str | None = None


@dataclass(frozen=True)
class Lease:
    """The right to judge one job until `lease_until` (database clock). `fence` names this right; `attempt` counts
    from 1; a lease that only ends a job counts as none.
    """

    job_id: str
    fence: int
    attempt: int
    owner: str
    lease_until: datetime
    state: JobState
    name: str
    work_name: str | None
    priority: int
    dropped_at: datetime
    claimed_at: datetime
    submitter_uid: int | None = None


@dataclass(frozen=True)
class Metric:
    """One figure about one case that is not a runtime: a hardware counter, registers, cache hits."""

    name: str
    value: float
    unit: str
    side: Side


@dataclass(frozen=True)
class Published:
    """What publishing a job stores: the evaluation in columns, and the result document as it stands in `result.json`.

    The document may hold anything JSON can say; NaN and Infinity are refused. `queue_ms`: what it waited
    for, from the drop.
    """

    evaluation: Evaluation
    document: Mapping[str, Any]
    queue_ms: float | None = None


class AttemptOutcome(StrEnum):
    """How one attempt at a job ended."""

    PUBLISHED = "published"
    RETRIED = "retried"
    BROKEN = "broken"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    DEFERRED = "deferred"


@dataclass(frozen=True)
class DeferralRecord:
    """A waiting job that the daemon `owner` cannot serve, why, and since when it knows. Another daemon may serve it."""

    job_id: str
    name: str
    owner: str
    host: str
    reason: str
    at: datetime


@dataclass(frozen=True)
class Expired:
    """A job taken back from `owner`, who let its lease run out. `state`: queued, or broken when no attempt was left.

    `owner` is empty where nobody held the job.
    """

    job_id: str
    owner: str
    fence: int  # the one that no longer counts
    attempts: int
    state: JobState
    name: str
    work_name: str | None


@dataclass(frozen=True)
class CleanupReport:
    """What cleanup removed, or would remove when `dry_run`. Rows kept for being among the best are not counted."""

    job_ids: tuple[str, ...]
    evaluations: int
    kept_best: int
    dry_run: bool


@dataclass(frozen=True)
class JobRecord:
    """A job as the database knows it. Figures are None until it is finished, and where there are none."""

    job_id: str
    name: str
    problem: str | None
    labels: Mapping[str, str]
    state: JobState
    priority: int
    kind: str | None
    kernel_type: str | None
    ref_kernel_type: str | None
    submitter_uid: int | None
    work_name: str | None
    fence: int
    attempts: int
    lease_owner: str | None
    lease_until: datetime | None
    read_at: datetime = field(compare=False)
    progress: str | None
    dropped_at: datetime
    created_at: datetime
    claimed_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    verdict: Verdict | None
    phase: Phase | None
    message: str | None
    runtime_ms: float | None
    ref_runtime_ms: float | None
    speedup: float | None
    comparison: Comparison | None
    queue_ms: float | None
    evaluate_ms: float | None
    source_sha256: str | None
    contract_sha256: str | None
    size_bytes: int
    document: Mapping[str, Any] | None = None  # the result document; only `History.job` and `newest` read it

    @property
    def lease_left_s(self) -> float | None:
        """How many seconds its daemon had left to give a sign of life when this was read, by the database's clock. None
        where nobody holds it."""
        return None if self.lease_until is None else (self.lease_until - self.read_at).total_seconds()


@dataclass(frozen=True)
class Glance:
    """How far a job is. `has_result`: it has ended and its document can be read."""

    job_id: str
    state: JobState
    progress: str | None
    verdict: Verdict | None
    has_result: bool


@dataclass(frozen=True)
class Whereabouts:
    """What the database says of a claimed bundle: how far its job is, who leases it, whose it is (a uid), and its name
    in `work/`."""

    job_id: str
    state: JobState
    lease_owner: str | None
    submitter_uid: int | None
    work_name: str | None


@dataclass(frozen=True)
class JobPage:
    """Jobs, newest first. Pass `cursor` on to get the next page; None: there is none."""

    jobs: tuple[JobRecord, ...]
    cursor: str | None


@dataclass(frozen=True)
class AttemptRecord:
    """One try at a job. `number` is None for one that did not count (withdrawn, deferred)."""

    job_id: str
    fence: int
    number: int | None
    owner: str
    leased_at: datetime
    ended_at: datetime | None
    outcome: AttemptOutcome | None
    reason: str | None


@dataclass(frozen=True)
class EventRecord:
    """Something that happened to a job, or to the service (`job_id` None)."""

    job_id: str | None
    at: datetime
    kind: str
    detail: str | None


@dataclass(frozen=True)
class SampleRecord:
    """The raw samples of one kernel of one case, in the order taken."""

    side: Side
    samples_ms: tuple[float, ...]
    calls: tuple[int, ...]


@dataclass(frozen=True)
class EvaluationRecord:
    """One case of a finished job."""

    position: int
    case_name: str
    bind: Mapping[str, int]
    verdict: Verdict
    phase: Phase
    message: str | None
    correct: bool | None
    trials_passed: int
    trials_total: int
    max_abs_error: float | None
    max_rel_error: float | None
    runtime_ms: float | None
    ref_runtime_ms: float | None
    speedup: float | None
    comparison: str | None
    compile_ms: float | None
    samples: tuple[SampleRecord, ...]
    metrics: tuple[Metric, ...]
