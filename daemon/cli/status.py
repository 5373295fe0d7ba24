"""`evald status`: the whole place, or one job."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from daemon.cli import commands_to_type, deferred, figures, inbox_entries, interrupt, outcome, overview, screen
from daemon.cli.complete_jobs import jobs as named_jobs
from daemon.cli.options import json_option, settings_options
from daemon.cli.records import as_document
from daemon.errors import HarnessError

if TYPE_CHECKING:
    from daemon.db.records import DeferralRecord, JobRecord
    from daemon.intake.waiting import Inbox
    from daemon.layers import LoadedSettings


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
    inbox = waiting.look(settings.paths.inbox, limit=overview.SHOWN, name=wanted)
    with store.history_if_any(settings) as history:
        if wanted is None:
            seen = overview.look(settings, history, inbox)
            screen.document(seen.document()) if as_json else seen.show()
            return 0
        job = store.asked_for(history, inbox, settings, wanted, quietly=as_json)
        refused = deferred.in_inbox(history, inbox)
        deferrals = deferred.of_job(history, job) if history is not None and job is not None else ()
    if as_json:
        screen.document(
            {
                "inbox": inbox_entries.document(inbox, refused)["entries"],
                "job": None if job is None else overview.job_document(job),
                "deferrals": [as_document(one) for one in deferrals],
            }
        )
    else:
        _one(job, deferrals, inbox, refused)
    return 0


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
            ("by", None if ended else overview.holder(job) or None),
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
