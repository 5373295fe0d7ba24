"""How a job enters the database, and what its contract says about it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from daemon.db import repository_rows as rows
from daemon.db.columns import storable
from daemon.db.models import Bundle, Job
from daemon.db.records import Description, NewJob
from daemon.db.repository_rows import HELD
from daemon.lifecycle import JobState

CONTRACT_KEPT_CHARS = 1024 * 1024
KIND_CHARS = 24
KERNEL_TYPE_CHARS = 64
_OF_THE_BUNDLE = ("name", "labels", "submitter_uid", "priority", "dropped_at")
_DESCRIBE_JOB = update(rows.table_of(Job)).where(
    Job.id == bindparam("described"), Job.state.in_((JobState.QUEUED, *HELD))
)
_DESCRIBE_BUNDLE = update(rows.table_of(Bundle)).where(Bundle.id == bindparam("described"))


def register(connection: Connection, job: NewJob) -> bool:
    """See `Repository.register`."""
    rows.insert_missing(connection, Bundle, Bundle.id, _bundle_row(job))
    if rows.insert_missing(connection, Job, Job.id, _job_row(job), "created_at"):
        rows.note(connection, job.job_id, "registered", job.name)
        return True
    return _revive(connection, job)


def is_of(connection: Connection, job: NewJob) -> bool:
    """Whether the job of this id is that of this very entry in `work/`."""
    mine = (Job.id == job.job_id, Job.work_name == job.work_name)
    return connection.scalar(select(Job.id).where(*mine)) is not None


def describe(connection: Connection, job_id: str, description: Description) -> bool:
    """See `Repository.describe`."""
    if connection.execute(_DESCRIBE_JOB, {"described": job_id, **_described_job(description)}).rowcount == 0:
        return False
    connection.execute(_DESCRIBE_BUNDLE, {"described": job_id, **_described_bundle(description)})
    return True


def _bundle_row(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "dropped_name": job.name,
        "submitter_uid": job.submitter_uid,
        "dropped_at": job.dropped_at,
        "size_bytes": job.size_bytes,
    }


def _job_row(job: NewJob) -> dict[str, Any]:
    return {
        "id": job.job_id,
        "name": rows.clipped(job.name),
        "labels": dict(job.labels),
        "submitter_uid": job.submitter_uid,
        "priority": job.priority,
        "state": JobState.QUEUED,
        "fence": 0,
        "attempts": 0,
        "work_name": job.work_name,
        "dropped_at": job.dropped_at,
    }


def _revive(connection: Connection, job: NewJob) -> bool:
    """The bundle of a withdrawn job has come again, or another one under its id: then the rows describe that one."""
    found = select(Job.fence).where(Job.id == job.job_id, Job.state == JobState.WITHDRAWN).with_for_update()
    fence = connection.scalar(found)
    if fence is None or not rows.move(
        connection, job.job_id, (JobState.WITHDRAWN,), JobState.QUEUED, held_fence=fence, work_name=job.work_name
    ):
        return False
    known = select(Bundle.dropped_name, Bundle.submitter_uid).where(Bundle.id == job.job_id)
    name, submitter_uid = connection.execute(known).one()
    if (name, submitter_uid) != (storable(job.name), job.submitter_uid):
        # It came back under another name because its own was taken: it keeps its place in the line.
        left = ("id", "dropped_at") if submitter_uid == job.submitter_uid else ("id",)
        about = {key: value for key, value in _bundle_row(job).items() if key not in left}
        connection.execute(update(Bundle).where(Bundle.id == job.job_id).values(**about))
        told = {key: value for key, value in _job_row(job).items() if key in _OF_THE_BUNDLE and key not in left}
        connection.execute(update(Job).where(Job.id == job.job_id).values(**told))
    rows.note(connection, job.job_id, "revived", job.name)
    return True


def _described_job(description: Description) -> dict[str, Any]:
    values: dict[str, Any] = {
        "problem": rows.clipped_or_none(description.problem),
        "labels": dict(description.labels),
        "priority": description.priority,
        "kind": rows.clipped(description.kind, KIND_CHARS),
        "kernel_type": rows.clipped(description.kernel_type, KERNEL_TYPE_CHARS),
        "ref_kernel_type": rows.clipped_or_none(description.ref_kernel_type, KERNEL_TYPE_CHARS),
        "requires_gpu": rows.clipped(description.requires_gpu.lower(), KERNEL_TYPE_CHARS)
        if description.requires_gpu
        else None,
    }
    return values | ({"name": rows.clipped(description.name)} if description.name else {})


def _described_bundle(description: Description) -> dict[str, Any]:
    contract = description.contract_json
    values: dict[str, Any] = {
        "file_count": description.file_count,
        "source_sha256": description.source_sha256,
        "contract_sha256": description.contract_sha256,
        "contract_json": contract if contract is not None and len(contract) <= CONTRACT_KEPT_CHARS else None,
    }
    return values | ({"size_bytes": description.size_bytes} if description.size_bytes is not None else {})
