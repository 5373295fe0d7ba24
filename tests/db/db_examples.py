"""Jobs and evaluations to store in tests."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

from daemon.db.records import NewJob, Published
from daemon.evaluation import CaseEvaluation, Environment, Evaluation, Failure, RuntimeStats, Timing
from daemon.verdict import Comparison, Phase, Side, Verdict

DROPPED = datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=UTC)


def new_job(name: str = "vec_add", **changes: Any) -> NewJob:
    job_id = changes.pop("job_id", None) or uuid.uuid4().hex
    values: dict[str, Any] = {
        "job_id": job_id,
        "name": name,
        "work_name": f"{name}@host-boot-1-{job_id}",
        "submitter_uid": 1000,
        "dropped_at": DROPPED,
        "size_bytes": 1234,
    }
    return NewJob(**(values | changes))


def timing(mean_ms: float) -> Timing:
    stats = RuntimeStats(
        mean=mean_ms,
        std=0.1,
        min=mean_ms / 2,
        max=mean_ms * 2,
        median=mean_ms,
        percentile_95=mean_ms,
        percentile_99=mean_ms,
    )
    return Timing(
        stats=stats,
        interval_ms=(mean_ms / 3, mean_ms * 2),
        mode="stream",
        samples_ms=(mean_ms, mean_ms / 3, mean_ms * 2),
        calls=(1, 2, 4),
        c0_us=5.0,
        c0_slope_us=1.0,
        rse=0.004,
        target_rse=0.005,
        stop="precision",
    )


def passed_case(name: str = "default", mean_ms: float = 0.5, speedup: float | None = 2.0) -> CaseEvaluation:
    return CaseEvaluation(
        name=name,
        bind={"N": 4096},
        verdict=Verdict.PASSED,
        phase=Phase.REPORT,
        compiled=True,
        correctness=True,
        trials_passed=5,
        trials_total=5,
        max_abs_error=1e-7,
        timing=timing(mean_ms),
        ref_timing=timing(mean_ms * speedup) if speedup else None,
        speedup=speedup,
        comparison=Comparison.FASTER if speedup else None,
        compile_ms=12.5,
        build={"registers": 32, "backend": "nvrtc", "spills": 0},
    )


ENVIRONMENT = Environment(
    device="cpu", cpu="Some CPU", cpu_count=8, clocks={"sm_mhz": 1980.0}, isolation="bubblewrap", evald="0.1.0"
)


def passed(mean_ms: float = 0.5, speedup: float | None = 2.0, **changes: Any) -> Published:
    return published(cases=(passed_case(mean_ms=mean_ms, speedup=speedup),), **changes)


def published(**changes: Any) -> Published:
    values: dict[str, Any] = {
        "verdict": Verdict.PASSED,
        "phase": Phase.REPORT,
        "cases": (),
        "evaluate_ms": 321.0,
        "environment": ENVIRONMENT,
    }
    evaluation = Evaluation(**(values | changes))
    return Published(evaluation, {"verdict": evaluation.verdict, "runtime": 0.5}, queue_ms=40.0)


def wrong(message: str = "outputs differ") -> Published:
    case = CaseEvaluation(
        name="default",
        verdict=Verdict.WRONG_ANSWER,
        phase=Phase.CHECK,
        failure=Failure(phase=Phase.CHECK, side=Side.CANDIDATE, message=message),
        compiled=True,
        correctness=False,
        trials_total=5,
    )
    return published(verdict=Verdict.WRONG_ANSWER, phase=Phase.CHECK, message=message, cases=(case,))
