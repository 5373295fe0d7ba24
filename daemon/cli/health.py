"""`evald health`: whether bundles are being judged, as an exit code for monitors and containers."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from daemon.cli import figures, screen
from daemon.cli.commands_to_type import here
from daemon.cli.options import json_option, settings_options

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.db.daemon_records import DaemonRecord
    from daemon.layers import LoadedSettings

_UNWELL = 1


@click.command("health")
@settings_options()
@json_option
@click.option("--host", metavar="HOST", help="Only the daemons of HOST.")
def command(*, loaded: LoadedSettings, as_json: bool, host: str | None) -> int:
    """Say what is wrong with the daemons of this database, a line each, for a monitor.

    Exit code 0: somebody judges, claims are not paused, no daemon is missing or has lost a device, and those of this
    host have their folders and room on the disk. A drained host is no fault while another judges, nor when --host asks
    about it. 1: something is wrong. 2: the database does not answer.
    """
    from daemon.cli import store
    from daemon.intake.owner import host_called

    host = host if host is None else host_called(host)
    with store.history_if_any(loaded.settings) as history:
        daemons = history.daemons() if history is not None else ()
        drained = history.drained_hosts() if history is not None else {}
    wanted = tuple(daemon for daemon in daemons if host is None or daemon.host == host)
    hosts = {daemon.host for daemon in daemons} | set(drained)
    if host is not None and hosts and host not in hosts:
        problems = [f"nobody judges: no daemon of a host {host!r} is known; there are {', '.join(sorted(hosts))}"]
    else:
        problems = list(troubles(wanted, is_drained=host in drained))
    problems += hindrances(loaded.settings, wanted)
    if as_json:
        screen.document({"healthy": not problems, "problems": problems})
    else:
        healthy = _drained(host) if host is not None and host in drained else _serving(wanted)
        for problem in problems or [f"healthy: {healthy}"]:
            screen.line(problem)
    return _UNWELL if problems else 0


def troubles(daemons: tuple[DaemonRecord, ...], *, is_drained: bool = False) -> Iterator[str]:
    """What is wrong, in words. `daemons`: by host, the latest start first. `is_drained`: they are those of one drained
    host, where nobody has to judge."""
    there = [daemon for daemon in daemons if daemon.is_there]
    for daemon in daemons:
        if daemon.is_missing and not any(_replaces(other, daemon) for other in there):
            yield f"{daemon.host}: no sign of life of process {daemon.pid}, seen {figures.ago(daemon.seen_at)}"
    for daemon in there:
        for device in daemon.devices:
            if device.reason is not None:
                yield f"{daemon.host}: device {device.slot} ({device.name}) is drained: {device.reason}"
    if is_drained or any(daemon.state == "running" and not daemon.is_drained for daemon in there):
        return
    drained = sorted({daemon.host for daemon in there if daemon.is_drained})
    for host in drained:
        yield f"nobody judges: {_drained(host)}"
    if not drained:
        yield f"nobody judges: type {here('evald run')}, or systemctl start evald"


def hindrances(settings: Settings, daemons: tuple[DaemonRecord, ...]) -> Iterator[str]:
    """Why daemons that are there claim nothing, or cannot put away what they have judged, in words."""
    from daemon import obstacles
    from daemon.intake.pause import pause_reason

    if (paused := pause_reason(settings.paths)) is not None:
        reason = f" ({paused})" if paused else ""
        yield f"no new bundle is claimed{reason}: type rm {shlex.quote(str(settings.paths.pause))}"
    if (lacking := obstacles.hindrance(settings, daemons)) is not None:
        yield f"no new bundle is claimed: {lacking}"
    if (backlog := obstacles.backlog(settings, daemons)) is not None:
        yield backlog


def _drained(host: str) -> str:
    return f"{host} is drained, to end it type {here('evald drain')} {host} --undo"


def _replaces(daemon: DaemonRecord, dead: DaemonRecord) -> bool:
    """Whether `daemon` is what was started in place of `dead`."""
    return (daemon.host, daemon.inbox) == (dead.host, dead.inbox) and daemon.started_at > dead.started_at


def _serving(daemons: tuple[DaemonRecord, ...]) -> str:
    there = [daemon for daemon in daemons if daemon.state == "running" and not daemon.is_missing]
    slots = sum(daemon.slots for daemon in there)
    return f"{len(there)} daemon{'s' if len(there) != 1 else ''}, {slots} slot{'s' if slots != 1 else ''}"
