"""Rows of the tables as the records that leave this room."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Label, Row, Select, SQLColumnExpression, and_, case, func, select

from daemon.db import samples
from daemon.db.daemon_records import DaemonRecord, DaemonState
from daemon.db.models import Bundle, Evaluation, Job
from daemon.db.records import EvaluationRecord, JobRecord, Metric, SampleRecord
from daemon.db.sqlfunctions import now
from daemon.engine import DeviceState

EVALUATION_FIELDS = set(EvaluationRecord.__dataclass_fields__) - {"samples", "metrics"}
_DEVICE_KEYS = {"slot", "kind", "name", "uuid"}

LEASE_COLUMNS = (
    Job.id.label("job_id"),
    Job.fence,
    Job.attempts.label("attempt"),
    Job.lease_owner.label("owner"),
    Job.lease_until,
    Job.state,
    Job.name,
    Job.work_name,
    Job.priority,
    Job.submitter_uid,
    Job.dropped_at,
    Job.claimed_at,
)
WHEREABOUTS = select(Job.id, Job.state, Job.lease_owner, Job.submitter_uid, Job.work_name)


def what_all_cases_say(job_id: SQLColumnExpression[str]) -> Label[Any]:
    """`comparison` of a judged job: null where its cases do not agree, or one of them was not compared."""
    said = Evaluation.comparison
    agreed = and_(func.count(said) == func.count(), func.min(said) == func.max(said))
    found = select(case((agreed, func.min(said)))).where(Evaluation.job_id == job_id)
    return found.scalar_subquery().label("comparison")


JOB_COLUMNS = (
    Job.id.label("job_id"),
    Job.name,
    Job.problem,
    Job.labels,
    Job.state,
    Job.priority,
    Job.kind,
    Job.kernel_type,
    Job.ref_kernel_type,
    Job.submitter_uid,
    Job.work_name,
    Job.fence,
    Job.attempts,
    Job.lease_owner,
    Job.lease_until,
    now().label("read_at"),
    Job.progress,
    Job.dropped_at,
    Job.created_at,
    Job.claimed_at,
    Job.started_at,
    Job.finished_at,
    Job.verdict,
    Job.phase,
    Job.message,
    Job.runtime_ms,
    Job.ref_runtime_ms,
    Job.speedup,
    what_all_cases_say(Job.id),
    Job.queue_ms,
    Job.evaluate_ms,
    Bundle.source_sha256,
    Bundle.contract_sha256,
    Bundle.size_bytes,
)


def is_silent(row: Row[Any]) -> bool:
    """Whether a daemon has not told about itself for longer than its lease: its row, as it was at `read_at`."""
    return bool(row.read_at - row.seen_at > timedelta(seconds=row.lease_s))


def daemon_record(row: Row[Any]) -> DaemonRecord:
    """From all columns of `daemons`, with `read_at` and `is_drained`."""
    values = dict(row._mapping)
    silent = is_silent(row)
    del values["read_at"]
    # A daemon of a later version may tell more about its devices than this one knows of.
    told = [
        {key: device[key] for key in DeviceState.__dataclass_fields__ if key in device}
        for device in values.pop("devices") or ()
    ]
    devices = tuple(DeviceState(**device) for device in told if device.keys() >= _DEVICE_KEYS)
    return DaemonRecord(**values, devices=devices, is_missing=silent and row.state is not DaemonState.STOPPED)


def jobs_with_document() -> Select[Any]:
    """`JOB_COLUMNS` and the result document as text. Only few queries need it, and it is long."""
    return select(*JOB_COLUMNS, Job.result_json).join(Bundle, Bundle.id == Job.id)


def job_with_document(row: Row[*tuple[Any, ...]]) -> JobRecord:
    """From a row of `jobs_with_document`."""
    values = dict(row._mapping)
    text = values.pop("result_json")
    return JobRecord(**values, document=None if text is None else json.loads(text))


def evaluation_record(
    row: Mapping[Any, Any], raw: Sequence[Row[*tuple[Any, ...]]], figures: Sequence[Row[*tuple[Any, ...]]]
) -> EvaluationRecord:
    """A case from its `id` and `EVALUATION_FIELDS`. Its samples and metrics are picked from the rows given."""
    mine = row["id"]
    return EvaluationRecord(
        **{key: row[key] for key in EVALUATION_FIELDS},
        samples=tuple(
            SampleRecord(one.side, samples.unpack_ms(one.samples_ms), samples.unpack_calls(one.calls))
            for one in raw
            if one.evaluation_id == mine
        ),
        metrics=tuple(Metric(one.name, one.value, one.unit, one.side) for one in figures if one.evaluation_id == mine),
    )
