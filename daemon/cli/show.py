"""`evald show`: everything about one job."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from daemon.cli import deferred, figures, inbox_entries, screen
from daemon.cli.complete_jobs import jobs as named_jobs
from daemon.cli.options import json_option, settings_options
from daemon.cli.records import as_document
from daemon.cli.screen import Column
from daemon.intake.shelves import in_inbox, settled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from daemon.db.history import History
    from daemon.db.records import AttemptRecord, EvaluationRecord, EventRecord, JobRecord
    from daemon.intake.waiting import Inbox
    from daemon.layers import LoadedSettings
    from daemon.paths import Paths

_SHOWN = 10


@click.command("show")
@settings_options()
@json_option
@click.argument("wanted", metavar="JOB|NAME", shell_complete=named_jobs)
def command(*, loaded: LoadedSettings, as_json: bool, wanted: str) -> int:
    """Everything about one job: cases, errors, timing, attempts, events, environment, and where its files are.

    JOB is an id or its first digits; a NAME stands for its newest job. A bundle of that name that waits in the inbox is
    told as well.
    """
    from daemon.cli import store
    from daemon.intake import waiting

    settings = loaded.settings
    inbox = waiting.look(settings.paths.inbox, limit=_SHOWN, name=wanted)
    with store.history_if_any(settings) as history:
        job = store.asked_for(history, inbox, settings, wanted, quietly=as_json)
        refused = deferred.in_inbox(history, inbox)
        past = Past.of(history, job) if history is not None and job is not None else Past()
    places = _places(settings.paths, job, inbox)
    if as_json:
        screen.document(_document(job, past, places) | {"inbox": inbox_entries.document(inbox, refused)["entries"]})
        return 0
    inbox_entries.table(inbox, refused)
    if job is not None:
        _job(job)
    if job is not None and job.document is not None:
        from daemon.cli import report

        screen.line()
        report.show({**job.document})
    _samples(past.evaluations)
    _attempts(past.attempts)
    _events(past.events)
    if places:
        screen.heading("files")
        screen.fields(places.items(), indent=2)
    return 0


@dataclass(frozen=True)
class Past:
    """What happened to a job and what was measured; nothing for a bundle that nobody has claimed."""

    attempts: tuple[AttemptRecord, ...] = ()
    events: tuple[EventRecord, ...] = ()
    evaluations: tuple[EvaluationRecord, ...] = ()

    @classmethod
    def of(cls, history: History, job: JobRecord) -> Past:
        return cls(history.attempts(job.job_id), history.events(job.job_id), history.evaluations(job.job_id))


def _document(job: JobRecord | None, past: Past, places: Mapping[str, str]) -> dict[str, Any]:
    return {
        "job": as_document(job, leave_out=("document",)) if job is not None else None,
        "result": job.document if job is not None else None,
        "evaluations": [as_document(evaluation) for evaluation in past.evaluations],
        "attempts": [as_document(attempt) for attempt in past.attempts],
        "events": [as_document(event) for event in past.events],
        "files": dict(places),
    }


def _job(job: JobRecord) -> None:
    kernel = " against ".join(kind for kind in (job.kernel_type, job.ref_kernel_type) if kind)
    screen.fields(
        [
            ("job", job.job_id),
            ("name", job.name if job.document is None else None),
            ("state", str(job.state)),
            ("now", job.progress if not job.state.final else None),
            ("by", job.lease_owner),
            ("kind", f"{job.kind}: {kernel}" if job.kind else None),
            ("priority", str(job.priority) if job.priority else None),
            ("submitter", figures.submitter(job.submitter_uid) if job.submitter_uid is not None else None),
            ("dropped", figures.clock(job.dropped_at)),
            ("started", figures.clock(job.started_at) if job.started_at else None),
            ("ended", figures.clock(job.finished_at) if job.finished_at else None),
            ("queued for", figures.milliseconds(job.queue_ms) if job.queue_ms is not None else None),
            ("judged in", figures.milliseconds(job.evaluate_ms) if job.evaluate_ms is not None else None),
            ("source", job.source_sha256),
            ("contract", job.contract_sha256),
        ]
    )


def _samples(evaluations: tuple[EvaluationRecord, ...]) -> None:
    rows = [
        (
            evaluation.case_name,
            str(sample.side),
            str(len(sample.samples_ms)),
            str(sum(sample.calls)),
            figures.milliseconds(min(sample.samples_ms)),
            figures.milliseconds(max(sample.samples_ms)),
            figures.sparkline([one - min(sample.samples_ms) for one in sample.samples_ms[-40:]])
            if screen.on_terminal()
            else "",
        )
        for evaluation in evaluations
        for sample in evaluation.samples
        if sample.samples_ms
    ]
    columns = (
        Column("CASE"),
        Column("SIDE"),
        Column("ROUNDS", right=True),
        Column("CALLS", right=True),
        Column("MIN", right=True),
        Column("MAX", right=True),
        Column(""),
    )
    screen.titled_table("samples", columns, rows, indent=2)


def _attempts(attempts: tuple[AttemptRecord, ...]) -> None:
    rows = [
        (
            figures.ABSENT if attempt.number is None else str(attempt.number),
            figures.clock(attempt.leased_at),
            str(attempt.outcome or "under way"),
            attempt.owner,
            attempt.reason or "",
        )
        for attempt in attempts
    ]
    columns = (
        Column("NO", right=True),
        Column("BEGAN"),
        Column("OUTCOME"),
        Column("BY"),
        Column("", flexible=True),
    )
    screen.titled_table("attempts", columns, rows, indent=2)


def _events(events: tuple[EventRecord, ...]) -> None:
    rows = [(figures.clock(event.at), event.kind, event.detail or "") for event in events]
    screen.titled_table("events", (Column("AT"), Column("WHAT"), Column("", flexible=True)), rows, indent=2)


def _places(paths: Paths, job: JobRecord | None, inbox: Inbox) -> dict[str, str]:
    """Where the files of a job are, those that are there; without a job, where the bundle waits."""
    from daemon import results

    if job is None:
        return {"bundle": str(paths.inbox / inbox.entries[0].entry)}
    found = {}
    if job.finished_at is not None:
        moment = (job.document or {}).get("finished_at")
        folder = results.folder_of(paths, job.job_id, datetime.fromisoformat(moment) if moment else job.finished_at)
        for name, file in (("result", folder / results.RESULT_FILE), ("samples", folder / results.SAMPLES_FILE)):
            if file.exists():
                found[name] = str(file)
    bundle = settled(paths, job.job_id)
    if bundle is None and not job.state.final:
        bundle = in_inbox(paths, job.job_id, job.submitter_uid)
    if bundle is not None:
        found["bundle"] = str(bundle)
    return found
