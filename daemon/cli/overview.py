"""The whole place in `evald status`: what waits and why, what is being judged, and what ended last."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from daemon.cli import commands_to_type, deferred, figures, hosts, inbox_entries, outcome, screen
from daemon.cli.records import as_document
from daemon.cli.screen import Column
from daemon.lifecycle import JobState

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.db.daemon_records import DaemonRecord
    from daemon.db.history import History
    from daemon.db.records import DeferralRecord, JobRecord
    from daemon.intake.waiting import Inbox
    from daemon.paths import Paths

SHOWN = 10
_RUNNING_SHOWN = 100
_LAST_DROPPED = 200
_DEFERRALS_READ = 100


@dataclass(frozen=True)
class Overview:
    """One look at a home. `refused`: why entries of the inbox went back there. `drained`: hosts, and since when."""

    paths: Paths
    inbox: Inbox
    refused: dict[str, str]
    paused: str | None
    hindrance: str | None
    backlog: str | None
    counts: dict[JobState, int]
    daemons: tuple[DaemonRecord, ...]
    drained: dict[str, datetime]
    deferrals: tuple[DeferralRecord, ...]
    running: tuple[JobRecord, ...]
    last: tuple[JobRecord, ...]

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "home": str(self.paths.home),
            "paused": self.paused,
            "hindrance": self.hindrance,
            "backlog": self.backlog,
            "inbox": inbox_entries.document(self.inbox, self.refused),
            "jobs": {str(state): count for state, count in self.counts.items()},
            "daemons": [hosts.document(daemon, self.running) for daemon in self.daemons],
            "drained_hosts": {host: since.isoformat() for host, since in self.drained.items()},
            "deferrals": [as_document(one) for one in self.deferrals],
            "running": [job_document(job) for job in self.running],
            "last_finished": [job_document(job) for job in self.last],
        }

    def show(self) -> None:
        """On the screen."""
        screen.fields(self._fields())
        hosts.show(self.daemons, self.running)
        for host in sorted(set(self.drained) - {daemon.host for daemon in self.daemons}):
            screen.line(f"{host} is drained and has no daemon")
        _running_table(self.running)
        deferred.table(self.deferrals, SHOWN)
        inbox_entries.table(self.inbox, self.refused)
        _last_table(self.last)

    def _fields(self) -> list[tuple[str, str | None]]:
        inbox, paths = self.inbox, self.paths
        ignored = f" (and {inbox.ignored} with hidden or temporary names)" if inbox.ignored else ""
        known = " · ".join(f"{count} {state}" for state, count in self.counts.items() if count) or "none yet"
        fields: list[tuple[str, str | None]] = [
            ("inbox", f"{inbox.total} waiting in {paths.inbox}{ignored}"),
            ("jobs", known),
        ]
        if self.paused is not None:
            fields.append(("paused", f"{self.paused or 'no reason given'} (remove {paths.pause} to go on)"))
        if self.hindrance is not None:
            fields.append(("waits", f"no new bundle is claimed: {self.hindrance}"))
        if (inbox.total or self.counts[JobState.QUEUED]) and not any(daemon.is_there for daemon in self.daemons):
            run = commands_to_type.here("evald run")
            fields.append(("waits", f"for a daemon, or for the next sweep; to start one type {run}"))
        return [*fields, ("stays", self.backlog)]


def look(settings: Settings, history: History | None, inbox: Inbox) -> Overview:
    """What there is. Without a history: of a home that no daemon has been at."""
    from daemon import obstacles
    from daemon.intake.pause import pause_reason

    counts = history.counts_by_state() if history else dict.fromkeys(JobState, 0)
    held = (JobState.CLAIMED, JobState.RUNNING)
    is_any_held = any(counts[state] for state in held)
    daemons = history.daemons() if history else ()
    return Overview(
        paths=settings.paths,
        inbox=inbox,
        refused=deferred.in_inbox(history, inbox),
        paused=pause_reason(settings.paths),
        hindrance=obstacles.hindrance(settings, daemons),
        backlog=obstacles.backlog(settings, daemons),
        counts=counts,
        daemons=daemons,
        drained=history.drained_hosts() if history else {},
        deferrals=history.deferrals(limit=_DEFERRALS_READ) if history and counts[JobState.QUEUED] else (),
        running=history.jobs(state=held, limit=_RUNNING_SHOWN).jobs if history and is_any_held else (),
        last=_ended_last(history) if history else (),
    )


def _running_table(jobs: tuple[JobRecord, ...]) -> None:
    columns = (
        Column("NAME", shortened=True),
        Column("JOB"),
        Column("NOW", flexible=True),
        Column("SINCE"),
        Column("LEASE"),
        Column("BY"),
    )
    screen.titled_table(
        "being judged",
        columns,
        [
            (
                job.name,
                figures.short(job.job_id),
                job.progress or str(job.state),
                figures.ago(job.started_at or job.claimed_at),
                _time_left(job),
                holder(job),
            )
            for job in jobs
        ],
    )


def _time_left(job: JobRecord) -> str:
    """Until when its daemon has to give a sign of life."""
    if (left_s := job.lease_left_s) is None:
        return ""
    return f"{figures.span(left_s)} left" if left_s > 0 else "over"


def holder(job: JobRecord) -> str:
    """Which daemon has its lease."""
    if job.lease_owner is None:
        return ""
    is_lost = job.lease_left_s is not None and job.lease_left_s < 0
    return f"{job.lease_owner}{' (no sign of life)' if is_lost else ''}"


def _ended_last(history: History) -> tuple[JobRecord, ...]:
    """The jobs that ended last, among those that were dropped last, because the index is on that. A job that took long
    may have ended after others that were dropped later."""
    ended = history.jobs(state=(JobState.FINISHED, JobState.BROKEN), limit=_LAST_DROPPED).jobs
    never = datetime.min.replace(tzinfo=UTC)
    return tuple(sorted(ended, key=lambda job: job.finished_at or never, reverse=True)[:SHOWN])


def _last_table(jobs: tuple[JobRecord, ...]) -> None:
    columns = (
        Column("NAME", shortened=True),
        Column("JOB"),
        Column("VERDICT"),
        Column("TIME", right=True),
        Column("SPEEDUP", right=True),
        Column("ENDED"),
    )
    screen.titled_table(
        "ended last",
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


def job_document(job: JobRecord) -> dict[str, Any]:
    """Without its result document, which `evald show` has."""
    return as_document(job, leave_out=("document",))
