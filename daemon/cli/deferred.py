"""Bundles that wait for a device in `evald status`: which hosts cannot serve them, and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from daemon.cli import figures, screen
from daemon.cli.screen import Column
from daemon.lifecycle import JobState

if TYPE_CHECKING:
    from daemon.db.history import History
    from daemon.db.records import DeferralRecord, JobRecord
    from daemon.intake.waiting import Inbox


def of_job(history: History, job: JobRecord) -> tuple[DeferralRecord, ...]:
    """Who cannot serve a job: while it waits in the queue, and also after it went back to the inbox."""
    from daemon.db.daemon_records import host_of
    from daemon.db.records import AttemptOutcome, DeferralRecord

    if job.state is JobState.QUEUED:
        return history.deferrals_of([job.job_id])
    attempts = history.attempts(job.job_id) if job.state is JobState.WITHDRAWN else ()
    if not attempts or attempts[-1].outcome is not AttemptOutcome.DEFERRED:
        return ()
    refused = [attempt for attempt in attempts if attempt.outcome is AttemptOutcome.DEFERRED]
    latest = {host_of(attempt.owner): attempt for attempt in refused}
    return tuple(
        DeferralRecord(job.job_id, job.name, one.owner, host, one.reason or "", one.ended_at or one.leased_at)
        for host, one in latest.items()
    )


def in_inbox(history: History | None, inbox: Inbox) -> dict[str, str]:
    """Why entries went back to the inbox for want of a device, by entry. Only names that hold a job id tell."""
    found = {}
    for entry in inbox.entries if history is not None else ():
        job = history.job(entry.job_id) if history is not None and entry.job_id is not None else None
        if history is not None and job is not None and (deferrals := of_job(history, job)):
            found[entry.entry] = "; ".join(sentences(deferrals))
    return found


def sentences(deferrals: Iterable[DeferralRecord]) -> list[str]:
    """One per host."""
    return [f"{one.host}: {one.reason}" for one in deferrals]


def table(deferrals: tuple[DeferralRecord, ...], limit: int) -> None:
    """A row per job and host, `limit` of them."""
    columns = (
        Column("NAME", shortened=True),
        Column("JOB"),
        Column("SINCE"),
        Column("NOT ON"),
        Column("WHY", flexible=True),
    )
    screen.titled_table(
        "waiting for a device",
        columns,
        [(one.name, figures.short(one.job_id), figures.ago(one.at), one.host, one.reason) for one in deferrals[:limit]],
    )
    if len(deferrals) > limit:
        screen.line(f"and {len(deferrals) - limit} more")
