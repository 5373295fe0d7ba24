"""The shapes of what routes answer, for clients and for the OpenAPI description."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from daemon.db.records import Glance, JobRecord
from daemon.http.refusals import ProblemAnswer
from daemon.http.submission import Submitted
from daemon.lifecycle import JobState
from daemon.verdict import Comparison, Verdict

EXAMPLE_ID = "01a216902c787107a5ff47624549e9fa"


class Status(StrEnum):
    """How far a job is, in the words that clients of an HTTP service expect."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"


def status_of(state: JobState, *, has_result: bool) -> Status:
    """Completed means: there is a result, whatever it says."""
    if has_result:
        return Status.COMPLETED
    return Status.RUNNING if state in (JobState.CLAIMED, JobState.RUNNING) else Status.PENDING


class Accepted(BaseModel):
    """A job that was taken."""

    job_id: str = Field(examples=[EXAMPLE_ID])
    name: str = Field(examples=["vec_add"])
    status: Status
    status_url: str = Field(examples=[f"/jobs/{EXAMPLE_ID}"])
    result_url: str = Field(examples=[f"/jobs/{EXAMPLE_ID}/result"])
    events_url: str = Field(examples=[f"/jobs/{EXAMPLE_ID}/events"])
    repeated: bool = Field(False, description="An earlier request with this idempotency key made the job")
    warnings: list[ProblemAnswer] = Field(
        default_factory=list,
        description="Keys of the contract that have no effect; one with a `suggestion` was probably misspelt",
    )

    @classmethod
    def of(cls, job: Submitted, status: Status) -> Accepted:
        place = f"/jobs/{job.job_id}"
        return cls(
            job_id=job.job_id,
            name=job.name,
            status=status,
            status_url=place,
            result_url=f"{place}/result",
            events_url=f"{place}/events",
            repeated=job.repeated,
            warnings=[ProblemAnswer.of(one) for one in job.warnings],
        )


class JobAnswer(BaseModel):
    """One job. Figures are null until it has ended, and where there are none. Times in milliseconds."""

    job_id: str = Field(examples=[EXAMPLE_ID])
    name: str | None = Field(None, examples=["vec_add"])
    status: Status
    state: str = Field(description="waiting (not claimed yet), queued, claimed, running, finished, broken, withdrawn")
    progress: str | None = Field(None, examples=["checking 3/5"])
    verdict: Verdict | None = None
    message: str | None = None
    problem: str | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    priority: int = 0
    kind: str | None = None
    kernel_type: str | None = None
    runtime_ms: float | None = None
    ref_runtime_ms: float | None = None
    speedup: float | None = None
    comparison: Comparison | None = Field(None, description="Whether the speedup can be told from noise")
    queue_ms: float | None = None
    evaluate_ms: float | None = None
    waits_because: list[str] = Field(
        default_factory=list, description="Why daemons have not begun it, as far as they say"
    )
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: dict[str, JsonValue] | None = Field(None, description="The result document, once there is one")

    @classmethod
    def waiting(cls, job_id: str, name: str) -> JobAnswer:
        """A bundle that no daemon has registered yet, under the name it was dropped with."""
        return cls(job_id=job_id, name=name, status=Status.PENDING, state="waiting")

    @classmethod
    def of(cls, job: JobRecord, *, has_result: bool, waits_because: list[str] | None = None) -> JobAnswer:
        """A job of the database; its document, if it was read, becomes `result`."""
        return cls(
            job_id=job.job_id,
            name=job.name,
            status=status_of(job.state, has_result=has_result),
            state=str(job.state),
            progress=job.progress,
            verdict=job.verdict,
            message=job.message,
            problem=job.problem,
            labels=dict(job.labels),
            priority=job.priority,
            kind=job.kind,
            kernel_type=job.kernel_type,
            runtime_ms=job.runtime_ms,
            ref_runtime_ms=job.ref_runtime_ms,
            speedup=job.speedup,
            comparison=job.comparison,
            queue_ms=job.queue_ms,
            evaluate_ms=job.evaluate_ms,
            waits_because=waits_because or [],
            created_at=job.created_at,
            started_at=job.started_at,
            finished_at=job.finished_at,
            result=None if job.document is None else dict(job.document),
        )


class JobsAnswer(BaseModel):
    """One page of jobs, newest first. Pass `cursor` on for the next; null: this was the last."""

    jobs: list[JobAnswer]
    cursor: str | None


class ResultAnswer(BaseModel):
    """The result document, as `evald eval --json` prints it and `result.json` holds it. Milliseconds."""

    model_config = ConfigDict(extra="allow")

    job_id: str
    name: str
    status: str = Field(description="success: the evaluation was carried out, whatever it found; else error")
    verdict: Verdict
    kernel_exec_result: dict[str, JsonValue]
    ref_runtime: dict[str, JsonValue] | None
    speedup: float | None


class ProgressAnswer(BaseModel):
    """One change of a job, as an event."""

    job_id: str
    status: Status
    state: str
    progress: str | None
    verdict: Verdict | None

    @classmethod
    def of(cls, glance: Glance) -> ProgressAnswer:
        return cls(
            job_id=glance.job_id,
            status=status_of(glance.state, has_result=glance.has_result),
            state=str(glance.state),
            progress=glance.progress,
            verdict=glance.verdict,
        )


class CancelAnswer(BaseModel):
    """A job that was ended."""

    job_id: str
    cancelled: bool = True


class LabelledJob(BaseModel):
    """A job with a label. What was dropped into the inbox without an id has none until it is claimed."""

    job_id: str | None = Field(examples=[EXAMPLE_ID])
    name: str


class LabelCancelAnswer(BaseModel):
    """The jobs with a label that were ended, or would be."""

    cancelled: list[LabelledJob] = Field(description="The jobs that were ended; with `dry_run`, that would be")
    more: bool = Field(description="There are more, or more came meanwhile: ask again")
    dry_run: bool


class HealthAnswer(BaseModel):
    """Whether bundles are being judged. For everybody, so it names nobody."""

    status: str = Field(description="healthy, draining or unhealthy", examples=["healthy"])
    version: str
    daemons: int = Field(description="Daemons that are at work on this database")
    reason: str | None = Field(None, description="Why it is not healthy")


class CleanupOrder(BaseModel):
    """What to forget."""

    model_config = ConfigDict(extra="forbid")

    older_than: str = Field("30d", description="Ended before: 12h, 30d, a date", examples=["30d"], max_length=64)
    keep_best: int = Field(
        1,
        ge=0,
        le=1_000_000,
        description="How many of the fastest passed jobs stay, of each problem, device and submitter",
    )
    forgotten: bool = Field(False, description="Also remove results as old whose job the database does not know")
    dry_run: bool = False


class NotRemoved(BaseModel):
    """A file or folder that could not be removed, and why."""

    file: str
    reason: str


class CleanupAnswer(BaseModel):
    """What went, or would go; the jobs of what could not be removed stay."""

    removed: int
    job_ids: list[str]
    evaluations: int
    kept_best: int
    forgotten: int = Field(description="How many results are as old, and of jobs that the database does not know")
    not_removed: list[NotRemoved]
    dry_run: bool
