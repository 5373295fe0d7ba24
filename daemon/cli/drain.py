"""`evald drain`: let the daemons of a host finish what runs and take nothing new."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

import click

from daemon.cli import screen
from daemon.cli.commands_to_type import here
from daemon.cli.options import json_option, settings_options

if TYPE_CHECKING:
    from daemon.db.history import History
    from daemon.layers import LoadedSettings

_JOBS_READ = 100


@click.command("drain")
@settings_options()
@click.option("--undo", is_flag=True, help="Let the daemons of HOST take jobs again.")
@json_option
@click.argument("host", metavar="HOST")
def command(*, loaded: LoadedSettings, host: str, undo: bool, as_json: bool) -> int:
    """Let the daemons of HOST finish what they are judging and take nothing new; they stay alive.

    What they had claimed and not begun goes back to the inbox. They notice within a third of their lease (20 s, unless
    the setting lease_s says otherwise), and so do daemons and sweeps that are started there later. `evald status` shows
    the hosts by name, and who still judges something.
    """
    from daemon.cli import store
    from daemon.db.history import History
    from daemon.db.repository_daemons import DaemonRepository
    from daemon.intake.owner import host_called

    if not host.strip():
        raise click.UsageError("HOST is empty", ctx=click.get_current_context())
    host = host_called(host)
    with store.database(loaded.settings) as database:
        history = History(database)
        _require_known(history, host)
        drains = DaemonRepository(database)
        changed = drains.undo_drain(host) if undo else drains.drain(host)
        daemons = [daemon for daemon in history.daemons() if daemon.host == host and daemon.state != "stopped"]
        at_work = sum(len(history.held_by(daemon.owner)) for daemon in daemons)
    if as_json:
        screen.document(
            {"host": host, "drained": not undo, "changed": changed, "daemons": len(daemons), "judging": at_work}
        )
        return 0
    if undo:
        screen.line(f"{host} takes jobs again" if changed else f"{host} was not drained")
    else:
        begun = "will be drained" if changed else "is drained already"
        screen.line(f"{host} {begun}; {at_work} jobs still run there")
        if changed and daemons:
            notice = f"its daemons notice within {loaded.settings.lease_s / 3:g} s, and may begin jobs until then"
            screen.say(f"evald: {notice}; {here('evald status')} says drained when they have")
    return 0


def _require_known(history: History, host: str) -> None:
    from daemon.errors import OperatorError
    from daemon.intake.owner import Owner

    known = {daemon.host for daemon in history.daemons()} | set(history.drained_hosts()) | {Owner.current().host}
    known |= _judged_lately(history) if host not in known else set()
    if host in known:
        return
    near = difflib.get_close_matches(host, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "evald status lists the daemons and their hosts"
    raise OperatorError(f"no host {host!r} has a daemon here or has judged anything lately", hint=hint)


def _judged_lately(history: History) -> set[str]:
    """Hosts that judged the latest jobs. A host that only sweeps has no daemon in the database by which it would be
    known."""
    from daemon.db.daemon_records import host_of

    jobs = history.jobs(limit=_JOBS_READ).jobs
    return {host_of(attempt.owner) for job in jobs for attempt in history.attempts(job.job_id)}
