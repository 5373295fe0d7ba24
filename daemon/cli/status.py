"""`evald status`: the whole place, or one job."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from daemon.cli import commands_to_type, deferred, figures, hosts, inbox_entries, interrupt, outcome, screen
from daemon.cli.complete import jobs as named_jobs
from daemon.cli.options import json_option, settings_options
from daemon.cli.records import as_document
from daemon.cli.screen import Column
from daemon.errors import HarnessError
from daemon.lifecycle import JobState

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.db.history import History
    from daemon.db.records import DeferralRecord, JobRecord
    from daemon.intake.waiting import Inbox
    from daemon.layers import LoadedSettings

_SHOWN = 10
_RUNNING_SHOWN = 100
_LAST_DROPPED = 200
_DEFERRALS_READ = 100


@click.command("status")
@settings_options()
@json_option
@click.option("--watch", is_flag=True, help="Show it again and again, until Ctrl-C.")
@click.option(
    "--every", default=2.0, show_default=True, metavar="S", type=click.FloatRange(min=0.1), help="With --watch."
)
@click.argument("wanted", metavar="[NAME|JOB]", required=False, shell_complete=named_jobs)
def command(*, loaded: LoadedSettings, as_json: bool, watch: bool, every: float, wanted: str | None) -> int:
    """What waits in the inbox and why, what is being judged, and what ended last.

    With NAME or JOB (an id, or its first digits): that job, the newest of that name, or the bundle of that name in the
    inbox.
    """
    if not watch:
        if click.get_current_context().get_parameter_source("every") is not ParameterSource.DEFAULT:
            raise click.UsageError("--every belongs to --watch", ctx=click.get_current_context())
        return _show(loaded, wanted, as_json=as_json)
    with interrupt.noted() as asked:
        while not asked.is_set():
            screen.clear()
            try:
                _show(loaded, wanted, as_json=as_json)
            except HarnessError as error:  # a database that is restarted, say
                screen.say(f"evald: {error.message}")
            sys.stdout.flush()
            asked.wait(every)
    raise KeyboardInterrupt


def _show(loaded: LoadedSettings, wanted: str | None, *, as_json: bool) -> int:
    from daemon.cli import store
    from daemon.intake import waiting

    settings = loaded.settings
    inbox = waiting.look(settings.paths.inbox, limit=_SHOWN, name=wanted)
    with store.history_if_any(settings) as history:
        if wanted is None:
            _overview(settings, history, inbox, as_json=as_json)
            return 0
        job = store.find(history, wanted) if history is not None else None
        if job is None and not inbox.entries:
            raise store.unknown(history, settings, wanted)
        refused = deferred.in_inbox(history, inbox)
        if history is not None and job is not None and not as_json:
            store.say_whose(history, job, wanted)
        deferrals = deferred.of_job(history, job) if history is not None and job is not None else ()
    if as_json:
        screen.document(
            {
                "inbox": inbox_entries.document(inbox, refused)["entries"],
                "job": None if job is None else _job_document(job),
                "deferrals": [as_document(one) for one in deferrals],
            }
        )
    else:
        _one(job, deferrals, inbox, refused)
    return 0


def _overview(settings: Settings, history: History | None, inbox: Inbox, *, as_json: bool) -> None:
    from daemon import obstacles
    from daemon.intake.pause import pause_reason

    paused = pause_reason(settings.paths)
    counts = history.counts_by_state() if history else dict.fromkeys(JobState, 0)
    held = (JobState.CLAIMED, JobState.RUNNING)
    running = history.jobs(state=held, limit=_RUNNING_SHOWN).jobs if history and any(counts[s] for s in held) else ()
    daemons = history.daemons() if history else ()
    hindrance, backlog = obstacles.hindrance(settings, daemons), obstacles.backlog(settings, daemons)
    drained = history.drained_hosts() if history else {}
    deferrals = history.deferrals(limit=_DEFERRALS_READ) if history and counts[JobState.QUEUED] else ()
    refused = deferred.in_inbox(history, inbox)
    last = _ended_last(history) if history else ()
    if as_json:
        screen.document(
            {
                "home": str(settings.paths.home),
                "paused": paused,
                "hindrance": hindrance,
                "backlog": backlog,
                "inbox": inbox_entries.document(inbox, refused),
                "jobs": {str(state): count for state, count in counts.items()},
                "daemons": [hosts.document(daemon, running) for daemon in daemons],
                "drained_hosts": {host: since.isoformat() for host, since in drained.items()},
                "deferrals": [as_document(one) for one in deferrals],
                "running": [_job_document(job) for job in running],
                "last_finished": [_job_document(job) for job in last],
            }
        )
        return
    ignored = f" (and {inbox.ignored} with hidden or temporary names)" if inbox.ignored else ""
    known = " · ".join(f"{count} {state}" for state, count in counts.items() if count) or "none yet"
    fields = [("inbox", f"{inbox.total} waiting in {settings.paths.inbox}{ignored}"), ("jobs", known)]
    if paused is not None:
        fields.append(("paused", f"{paused or 'no reason given'} (remove {settings.paths.pause} to go on)"))
    if hindrance is not None:
        fields.append(("waits", f"no new bundle is claimed: {hindrance}"))
    if (inbox.total or counts[JobState.QUEUED]) and not any(daemon.is_there for daemon in daemons):
        run = commands_to_type.here("evald run")
        fields.append(("waits", f"for a daemon, or for the next sweep; to start one type {run}"))
    if backlog is not None:
        fields.append(("stays", backlog))
    screen.fields(fields)
    hosts.show(daemons, running)
    idle = set(drained) - {daemon.host for daemon in daemons}
    for host in sorted(idle):
        screen.line(f"{host} is drained and has no daemon")
    _running_table(running)
    deferred.table(deferrals, _SHOWN)
    inbox_entries.table(inbox, refused)
    _last_table(last)


def _running_table(jobs: tuple[JobRecord, ...]) -> None:

    if not jobs:
        return
    screen.heading("being judged")
    columns = (
        Column("NAME", shortened=True),
        Column("JOB"),
        Column("NOW", flexible=True),
        Column("SINCE"),
        Column("LEASE"),
        Column("BY"),
    )
    screen.table(
        columns,
        [
            (
                job.name,
                figures.short(job.job_id),
                job.progress or str(job.state),
                figures.ago(job.started_at or job.claimed_at),
                _time_left(job),
                _holder(job),
            )
            for job in jobs
        ],
    )


def _time_left(job: JobRecord) -> str:
    """Until when its daemon has to give a sign of life."""
    if (left_s := job.lease_left_s) is None:
        return ""
    return f"{figures.span(left_s)} left" if left_s > 0 else "over"


def _holder(job: JobRecord) -> str:

    if job.lease_owner is None:
        return ""
    is_lost = job.lease_left_s is not None and job.lease_left_s < 0
    return f"{job.lease_owner}{' (no sign of life)' if is_lost else ''}"


def _ended_last(history: History) -> tuple[JobRecord, ...]:
    """Of those that were dropped last, for there is an index on that: a job that took long may have ended after others
    that came later."""
    ended = history.jobs(state=(JobState.FINISHED, JobState.BROKEN), limit=_LAST_DROPPED).jobs
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(ended, key=lambda job: job.finished_at or never, reverse=True)[:_SHOWN])


def _last_table(jobs: tuple[JobRecord, ...]) -> None:

    if not jobs:
        return
    screen.heading("ended last")
    columns = (
        Column("NAME", shortened=True),
        Column("JOB"),
        Column("VERDICT"),
        Column("TIME", right=True),
        Column("SPEEDUP", right=True),
        Column("ENDED"),
    )
    screen.table(
        columns,
        [
            (
                job.name,
                figures.short(job.job_id),
                outcome.coloured(job.verdict),
                figures.milliseconds(job.runtime_ms),
                figures.ratio(job.speedup),
                figures.ago(job.finished_at),
            )
            for job in jobs
        ],
    )


def _one(job: JobRecord | None, deferrals: tuple[DeferralRecord, ...], inbox: Inbox, refused: dict[str, str]) -> None:

    inbox_entries.table(inbox, refused, is_first=True)
    if job is None:
        return
    if inbox.entries:
        screen.heading("judged before" if job.state.final else "taken before")
    ended = job.state.final
    screen.fields(
        [
            ("name", job.name),
            ("job", job.job_id),
            ("state", str(job.state)),
            ("now", None if ended else job.progress),
            ("waits", "\n".join(("for a device", *deferred.sentences(deferrals))) if deferrals else None),
            ("by", None if ended else _holder(job) or None),
            ("verdict", outcome.coloured(job.verdict) if ended else None),
            ("phase", str(job.phase) if ended and job.phase and job.message else None),
            ("message", job.message if ended else None),
            ("time", figures.milliseconds(job.runtime_ms) if job.runtime_ms is not None else None),
            ("reference", figures.milliseconds(job.ref_runtime_ms) if job.ref_runtime_ms is not None else None),
            ("speedup", figures.ratio(job.speedup) if job.speedup is not None else None),
            ("dropped", figures.ago(job.dropped_at)),
            ("ended", figures.ago(job.finished_at) if ended else None),
            ("more", commands_to_type.here(f"evald show {figures.short(job.job_id)}")),
        ]
    )


def _job_document(job: JobRecord) -> dict[str, Any]:

    return as_document(job, leave_out=("document",))
