"""Turning one evaluation into rows, all or none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from daemon.db import repository_rows as rows
from daemon.db import samples
from daemon.db.models import Environment, Evaluation, Metric, Sample, Statistics
from daemon.db.records import AttemptOutcome, Lease, Published
from daemon.db.repository_rows import HELD, UNLEASED
from daemon.errors import LostClaim
from daemon.evaluation import CaseEvaluation, Timing
from daemon.evaluation import Environment as RanIn
from daemon.lifecycle import JobState
from daemon.verdict import Side

METRIC_NAME_CHARS = 200
UNIT_CHARS = 24
FIGURE_LIMIT = 1e300
_ENVIRONMENT = select(Environment.id).where(Environment.content_sha256 == bindparam("content"))
_EVALUATION = insert(rows.table_of(Evaluation)).returning(Evaluation.id)
_STATISTICS, _SAMPLE, _METRIC = (insert(rows.table_of(table)) for table in (Statistics, Sample, Metric))


def publish(connection: Connection, lease: Lease, published: Published) -> bool:
    """Claimed or running -> finished, with everything that was found out. False: this very lease had published already.

    Raises `LostClaim` when the lease is no longer the current one.
    """
    queue_ms = published.queue_ms
    if queue_ms is None:
        queue_ms = max(0.0, (lease.claimed_at - lease.dropped_at).total_seconds() * 1000)
    if not rows.move(
        connection,
        lease.job_id,
        HELD,
        JobState.FINISHED,
        held_fence=lease.fence,
        stamped="finished_at",
        queue_ms=queue_ms,
        **_finished(connection, lease.job_id, published),
    ):
        if rows.outcome_of(connection, lease.job_id, lease.fence) is AttemptOutcome.PUBLISHED:
            return False
        raise LostClaim(f"job {lease.job_id}: lease {lease.fence} of {lease.owner} no longer counts; nothing published")
    rows.end_attempt(connection, lease.job_id, lease.fence, AttemptOutcome.PUBLISHED)
    _write_cases(connection, lease.job_id, published)
    rows.note(connection, lease.job_id, "published", published.evaluation.verdict)
    return True


def _finished(connection: Connection, job_id: str, published: Published) -> dict[str, Any]:
    evaluation = published.evaluation
    ran = bool(evaluation.cases) or evaluation.environment != RanIn()
    return {
        **UNLEASED,
        "runtime_ms": evaluation.runtime_ms,
        "ref_runtime_ms": evaluation.ref_runtime_ms,
        "speedup": evaluation.speedup,
        "verdict": evaluation.verdict,
        "phase": evaluation.phase,
        "message": evaluation.message,
        "evaluate_ms": evaluation.evaluate_ms,
        "environment_id": _environment_id(connection, evaluation.environment) if ran else None,
        "result_json": rows.result_text(job_id, published.document),
    }


def _environment_id(connection: Connection, environment: RanIn) -> int:
    """The row of this environment, written if it is the first of its kind. Clocks and the control change by the minute,
    so they are left out."""
    details = environment.model_dump(mode="json", exclude={"clocks", "control"})
    content_sha256 = hashlib.sha256(json.dumps(details, sort_keys=True).encode()).hexdigest()
    known = {column.key: details[column.key] for column in Environment.__table__.columns if column.key in details}
    values = {**known, "content_sha256": content_sha256, "details": details}
    found = connection.scalar(_ENVIRONMENT, {"content": content_sha256})
    if found is not None:
        return found
    rows.insert_missing(connection, Environment, Environment.content_sha256, values)
    return connection.execute(_ENVIRONMENT, {"content": content_sha256}).scalar_one()


def _write_cases(connection: Connection, job_id: str, published: Published) -> None:
    for position, case in enumerate(published.evaluation.cases):
        row = {"job_id": job_id, "position": position, **_case_row(case)}
        evaluation_id = connection.execute(_EVALUATION, row).scalar_one()
        for side, timing in ((Side.CANDIDATE, case.timing), (Side.REFERENCE, case.ref_timing)):
            if timing is not None:
                _write_timing(connection, {"evaluation_id": evaluation_id, "side": side}, timing)
        metrics = list(_metric_rows(evaluation_id, case))
        if metrics:
            connection.execute(_METRIC, metrics)


def _case_row(case: CaseEvaluation) -> dict[str, Any]:
    failure = case.failure
    details = {
        "labels",
        "notes",
        "numerics",
        "build",
        "checks",
        "worst_output",
        "worst_index",
        "stdout_tail",
        "stderr_tail",
        "failure",
    }
    return {
        "case_name": case.name,
        "bind": dict(case.bind),
        "verdict": case.verdict,
        "phase": case.phase,
        "message": failure.message if failure else None,
        "failed_side": failure.side if failure else None,
        "compiled": case.compiled,
        "correct": case.correctness,
        "trials_passed": case.trials_passed,
        "trials_total": case.trials_total,
        "max_abs_error": case.max_abs_error,
        "max_rel_error": case.max_rel_error,
        "runtime_ms": case.timing.stats.mean if case.timing else None,
        "ref_runtime_ms": case.ref_timing.stats.mean if case.ref_timing else None,
        "speedup": case.speedup,
        "comparison": case.comparison,
        "compile_ms": case.compile_ms,
        "details": case.model_dump(mode="json", include=details),
    }


def _write_timing(connection: Connection, key: dict[str, Any], timing: Timing) -> None:
    stats = {f"{name}_ms": value for name, value in timing.stats.model_dump().items()}
    plain = timing.model_dump(include={column.key for column in Statistics.__table__.columns} - {"labels"})
    count = len(timing.samples_ms)
    labels = list(timing.labels)
    connection.execute(_STATISTICS, {**key, **stats, **plain, "sample_count": count, "labels": labels})
    blobs = {"samples_ms": samples.pack_ms(timing.samples_ms), "calls": samples.pack_calls(timing.calls)}
    connection.execute(_SAMPLE, {**key, **blobs})


def _metric_rows(evaluation_id: int, case: CaseEvaluation) -> Iterator[dict[str, Any]]:
    """The metrics of one case: what the judge found beside the times (`numerics.<key>`, `clocks.<key>`, …), and every
    number that the compiler reported (`build.<key>`). Of two with the same name the first one counts."""
    seen: set[tuple[Side, str]] = set()
    built = [(Side.CANDIDATE, f"build.{key}", value, "") for key, value in case.build.items()]
    for side, name, value, unit in [*_found_beside(case), *_counted(case), *built]:
        if not _is_figure(value):
            continue
        key = (side, rows.clipped(name, METRIC_NAME_CHARS))
        if key in seen:
            continue
        seen.add(key)
        yield {
            "evaluation_id": evaluation_id,
            "side": side,
            "name": key[1],
            "value": float(value),
            "unit": rows.clipped(unit, UNIT_CHARS),
        }


def _found_beside(case: CaseEvaluation) -> Iterator[tuple[Side, str, Any, str]]:
    if case.numerics is not None:
        for key, value in case.numerics.model_dump(exclude={"note", "rounding"}).items():
            yield Side.CANDIDATE, f"numerics.{key}", value, ""
    for side, timing in ((Side.CANDIDATE, case.timing), (Side.REFERENCE, case.ref_timing)):
        if timing is not None:
            yield side, "launched", timing.launched_ms, "ms"
            yield side, "back_to_back", timing.back_to_back_ms, "ms"
            yield side, "interval.low", timing.interval_ms[0], "ms"
            yield side, "interval.high", timing.interval_ms[1], "ms"
            yield side, "dropped_rounds", timing.dropped_rounds, ""
            yield side, "gb_per_s", timing.gb_per_s, "GB/s"
            yield side, "tflop_per_s", timing.tflop_per_s, "TFLOP/s"
            yield side, "speed_of_light_pct", timing.speed_of_light_pct, "%"
            for key, value in timing.clocks.items():
                yield side, f"clocks.{key}", value, ""


def _counted(case: CaseEvaluation) -> Iterator[tuple[Side, str, Any, str]]:
    """Hardware counters over all kernels of a call, `counters.<section>.<figure>`; the unit is in the figure's name.
    ncu's own names stay in the document."""
    for side, key in ((Side.CANDIDATE, "custom_device_metrics"), (Side.REFERENCE, "original_device_metrics")):
        for section, figures in case.device_metrics.get(key, {}).items():
            if isinstance(figures, dict) and section != "detailed_metrics":
                for name, value in figures.items():
                    yield side, f"counters.{section}.{name}", value, ""


def _is_figure(value: object) -> bool:
    """A number that both databases can hold: neither NaN nor infinite, nor an integer beyond all floats."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < FIGURE_LIMIT
