"""`GET /stats`: the sections that users of a judging server know, with figures from the database in them."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field

from daemon.db.statistics_records import Activity, Spread
from daemon.lifecycle import JobState
from daemon.verdict import Verdict


class JobStats(BaseModel):
    """Jobs now, and how those ended that did in the window."""

    total: int = Field(description="Every job the database knows")
    queued: int
    running: int
    completed: int = Field(description="Ended in the window, whatever the verdict")
    passed: int
    failed: int = Field(description="Ended in the window and not passed")
    success_rate: float | None = Field(description="passed / completed; null when nothing ended")
    by_verdict: dict[Verdict, int]
    by_state: dict[JobState, int]


class SpreadAnswer(BaseModel):
    """How a duration was distributed in the window, milliseconds; null where nothing was counted."""

    count: int
    mean_ms: float | None
    median_ms: float | None
    p95_ms: float | None

    @classmethod
    def of(cls, spread: Spread) -> SpreadAnswer:
        return cls(count=spread.count, mean_ms=spread.mean, median_ms=spread.median, p95_ms=spread.percentile_95)


class CompilationMetrics(SpreadAnswer):
    """How long compiling took, per case."""

    failures: int = Field(description="Jobs that ended with compile_error")


class ProfilingMetrics(BaseModel):
    """How long jobs waited, and how long judging took."""

    queue: SpreadAnswer
    evaluation: SpreadAnswer


class Utilization(BaseModel):
    """How busy one daemon was: the share of the window that its slots spent on jobs that ended in it, 0 to 1."""

    host: str
    daemon: str
    slots: int
    devices: list[str]
    busy_share: float


class Throughput(BaseModel):
    """Jobs that ended lately."""

    last_minute: int
    last_5_minutes: int
    last_hour: int
    last_day: int
    per_minute: float = Field(description="Over the window")


class StatsAnswer(BaseModel):
    """What was done in the last `window_s` seconds."""

    window_s: float
    job_stats: JobStats
    compilation_metrics: CompilationMetrics
    profiling_metrics: ProfilingMetrics
    gpu_utilization: list[Utilization]
    throughput: Throughput

    @classmethod
    def of(cls, activity: Activity, states: Mapping[JobState, int]) -> StatsAnswer:
        ended = sum(activity.verdicts.values())
        passed = activity.verdicts[Verdict.PASSED]
        window_s = activity.window.total_seconds()
        return cls(
            window_s=window_s,
            job_stats=JobStats(
                total=sum(states.values()),
                queued=states[JobState.QUEUED],
                running=states[JobState.CLAIMED] + states[JobState.RUNNING],
                completed=ended,
                passed=passed,
                failed=ended - passed,
                success_rate=passed / ended if ended else None,
                by_verdict=dict(activity.verdicts),
                by_state=dict(states),
            ),
            compilation_metrics=CompilationMetrics(
                **SpreadAnswer.of(activity.compile_ms).model_dump(),
                failures=activity.verdicts[Verdict.COMPILE_ERROR],
            ),
            profiling_metrics=ProfilingMetrics(
                queue=SpreadAnswer.of(activity.queue_ms), evaluation=SpreadAnswer.of(activity.evaluate_ms)
            ),
            gpu_utilization=[
                Utilization(
                    host=busy.host,
                    daemon=busy.owner,
                    slots=busy.slots,
                    devices=list(busy.devices),
                    busy_share=busy.share,
                )
                for busy in activity.busy
            ],
            throughput=Throughput(**activity.finished, per_minute=ended * 60 / window_s),
        )
