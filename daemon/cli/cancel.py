"""`evald cancel`: end jobs nobody wants any more."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from daemon.cli import failing, screen
from daemon.cli.complete_jobs import jobs as named_jobs
from daemon.cli.options import json_option, settings_options
from daemon.errors import EvaldError, HarnessError, OperatorError
from daemon.lifecycle import JobState

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.db.history import History
    from daemon.labelled import Look, Unfinished
    from daemon.layers import LoadedSettings

_UNREAD_SHOWN = 5
_LIVING = tuple(state for state in JobState if not state.final)


@click.command("cancel")
@settings_options()
@click.option("--label", metavar="KEY=VALUE", help="Every job that has this label and has not ended: a whole sweep.")
@click.option("--dry-run", is_flag=True, help="With --label: only say what would be cancelled.")
@json_option
@click.argument("jobs", metavar="[JOB|NAME]...", nargs=-1, shell_complete=named_jobs)
def command(*, loaded: LoadedSettings, label: str | None, dry_run: bool, jobs: tuple[str, ...], as_json: bool) -> int:
    """End jobs nobody wants any more, waiting or running. Each gets a result whose verdict is rejected and says why.

    JOB is an id or its first digits. NAME is the name in a contract, or that of what was dropped; it stands for the
    last such job that has not ended. A daemon that is judging it notices within a third of its lease (20 s, unless the
    setting lease_s says otherwise) and kills it. Exit code 1 when a job had ended before, 2 when there is none of that
    name: the others are ended all the same.

    --label also ends what lies in the inbox, whoever dropped it. The labels of archives, and of contracts of more than
    1 MiB, are not known before they are judged: those that wait stay, and are named. Where there is nothing to end the
    exit code is 0.
    """
    wanted = _label(click.get_current_context(), label, jobs, dry_run=dry_run)
    if wanted is not None:
        return _cancel_labelled(loaded.settings, wanted, dry_run=dry_run, as_json=as_json)
    return _cancel_named(loaded.settings, jobs, as_json=as_json)


def _label(
    context: click.Context, label: str | None, jobs: tuple[str, ...], *, dry_run: bool
) -> tuple[str, str] | None:
    """Key and value. Raises `UsageError` for options and arguments that do not fit together."""
    if label is None:
        if dry_run:
            raise click.UsageError("--dry-run belongs to --label", ctx=context)
        if not jobs:
            raise click.UsageError("which jobs? Name them, or give their --label", ctx=context)
        return None
    if jobs:
        raise click.UsageError("--label and names of jobs are two ways to say which; give one of them", ctx=context)
    key, is_pair, value = label.partition("=")
    if not key or not is_pair:
        raise click.UsageError(f"--label {label!r} is not KEY=VALUE", ctx=context)
    return key, value


def _cancel_labelled(settings: Settings, label: tuple[str, str], *, dry_run: bool, as_json: bool) -> int:
    from daemon.cli import store
    from daemon.db.history import History
    from daemon.db.repository import Repository
    from daemon.intake.owner import Owner
    from daemon.intake.spool import Spool
    from daemon.labelled import Labelled, Look
    from daemon.publishing import Publisher

    with store.database(settings) as database:
        spool, history = Spool(settings.paths, Owner.current()), History(database)
        labelled = Labelled(settings, spool, history, label)
        publisher = Publisher(settings, spool, Repository(database), history)
        ended: list[Unfinished] = []
        faults: list[EvaldError] = []
        left = Look((), ())
        try:
            for some in () if dry_run else labelled.end(publisher, _who()):
                ended += some
                for one in () if as_json else some:
                    screen.line(f"{one.job_id}  cancelled  {one.name}")
            left = labelled.look()
        except HarnessError as error:
            if not ended:
                raise
            faults.append(error)
    if as_json:
        stays = [{"job_id": one.job_id, "name": one.name} for one in left.found]
        cancelled = [one.job_id for one in ended]
        errors = [failing.as_document(fault) for fault in faults]
        document = {"dry_run": dry_run, "cancelled": cancelled, "left": stays, "unread": left.unread}
        screen.document(document | ({"errors": errors} if errors else {}))
    else:
        for one in left.found if dry_run else ():
            screen.line(f"{one.job_id or 'no job yet':32}  {one.name}")
        count = len(left.found if dry_run else ended)
        verb = "would cancel" if dry_run else "cancelled"
        screen.line(f"{verb} {count} job{'s' if count != 1 else ''} with the label {'='.join(label)}")
        _say_what_stays(left, dry_run=dry_run)
        _say_why(faults)
    return failing.COULD_NOT if faults or (left.found and not dry_run) else 0


def _say_what_stays(left: Look, *, dry_run: bool) -> None:
    if left.found and not dry_run:
        screen.say(f"evald: {len(left.found)} more came meanwhile, or changed hands; type it again")
    if left.unread:
        shown = ", ".join(left.unread[:_UNREAD_SHOWN]) + (", …" if len(left.unread) > _UNREAD_SHOWN else "")
        screen.say(f"evald: {len(left.unread)} waiting do not tell their labels before they are judged: {shown}")


def _cancel_named(settings: Settings, jobs: tuple[str, ...], *, as_json: bool) -> int:
    from daemon.cli import store
    from daemon.db.history import History
    from daemon.db.repository import Repository
    from daemon.intake.owner import Owner
    from daemon.intake.spool import Spool
    from daemon.publishing import Publisher

    with store.database(settings) as database:
        spool, history = Spool(settings.paths, Owner.current()), History(database)
        wanted, faults = _job_ids(settings, history, jobs)
        publisher = Publisher(settings, spool, Repository(database), history)
        ended: dict[str, bool] = {}
        try:
            for job_id in wanted:
                ended[job_id] = publisher.cancel(job_id, _who()) is not None
        except HarnessError as error:
            if not ended:
                raise
            faults.append(error)
    if as_json:
        cancelled = [job_id for job_id, done in ended.items() if done]
        errors = [failing.as_document(fault) for fault in faults]
        screen.document({"cancelled": cancelled, "ended_before": _late(ended), "errors": errors})
    else:
        for job_id, done in ended.items():
            screen.line(f"{job_id}  {'cancelled' if done else 'had ended before'}")
        _say_why(faults)
    return failing.COULD_NOT if faults else 1 if _late(ended) else 0


def _say_why(faults: list[EvaldError]) -> None:
    for fault in faults:
        failing.report(fault, as_json=False)


def _late(ended: dict[str, bool]) -> list[str]:
    return [job_id for job_id, done in ended.items() if not done]


def _job_ids(settings: Settings, history: History, jobs: tuple[str, ...]) -> tuple[list[str], list[EvaldError]]:
    """The ids of the jobs that exist, and for the others why there is none. Raises `OperatorError` if a single one was
    asked for and is unknown."""
    found: list[str] = []
    unknown: list[EvaldError] = []
    for one in jobs:
        try:
            found.append(_job_id(settings, history, one))
        except OperatorError as error:
            unknown.append(error)
    if unknown and len(jobs) == 1:
        raise unknown[0]
    return found, unknown


def _job_id(settings: Settings, history: History, wanted: str) -> str:
    from daemon.cli import store
    from daemon.intake import names, waiting

    job = store.find(history, wanted)
    if job is not None and job.state.final:
        job = next(iter(history.jobs(name=wanted, state=_LIVING, limit=1).jobs), job)
    if job is not None and store.is_begun_id(job, wanted):
        return job.job_id
    ids_alone = names.JOB_ID.fullmatch(wanted) is not None
    newest = waiting.look(settings.paths.inbox, limit=1, name=wanted, newest=True, ids_alone=ids_alone).entries
    if newest and (job is None or job.state.final or newest[0].since > job.dropped_at):
        if newest[0].job_id is None:
            place = settings.paths.inbox / newest[0].entry
            raise OperatorError(
                f"{wanted} has no job yet: nobody has claimed it", hint=f"remove it: rm -r {shlex.quote(str(place))}"
            )
        return newest[0].job_id
    if job is None:
        raise store.unknown(history, settings, wanted)
    return job.job_id


def _who() -> str:
    import getpass

    return f"{getpass.getuser()} (evald cancel)"
