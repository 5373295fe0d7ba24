"""The daemons in `evald status`: who is there, what each of them judges on, and which devices are set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from daemon.cli import figures, screen
from daemon.cli.records import as_document
from daemon.cli.screen import Column, Styled

if TYPE_CHECKING:
    from daemon.db.daemon_records import DaemonRecord
    from daemon.db.records import JobRecord
    from daemon.engine import DeviceState


def show(daemons: tuple[DaemonRecord, ...], running: tuple[JobRecord, ...]) -> None:
    """Both tables. `running`: the jobs that are being judged, by whomever."""
    _daemons_table(daemons, running)
    _devices_table(daemons)


def document(daemon: DaemonRecord, running: tuple[JobRecord, ...]) -> dict[str, Any]:
    """One daemon for --json, with what it is judging."""
    leases = [
        {"job_id": job.job_id, "name": job.name, "lease_until": job.lease_until and job.lease_until.isoformat()}
        for job in _held_by(daemon, running)
    ]
    return {**as_document(daemon), "judging": leases}


def _daemons_table(daemons: tuple[DaemonRecord, ...], running: tuple[JobRecord, ...]) -> None:
    columns = (
        Column("HOST"),
        Column("PID"),
        Column("STATE"),
        Column("SLOTS", right=True),
        Column("SEEN"),
        Column("INBOX", flexible=True),
    )
    screen.titled_table(
        "daemons",
        columns,
        [
            (
                daemon.host,
                str(daemon.pid),
                _state_of(daemon, running),
                _use_of(daemon.slots, len(_held_by(daemon, running))),
                figures.ago(daemon.seen_at),
                daemon.inbox,
            )
            for daemon in daemons
        ],
    )


def _use_of(slots: int, held: int) -> str:
    """Slots at work of all, and jobs that are made ready for one."""
    return f"{min(held, slots)}/{slots}" + (f" +{held - slots}" if held > slots else "")


def _devices_table(daemons: tuple[DaemonRecord, ...]) -> None:
    """What living daemons judge on. Nothing if that is a CPU everywhere, and nothing is wrong with any."""
    living = [daemon for daemon in daemons if daemon.is_there]
    devices = [(daemon.host, device) for daemon in living for device in daemon.devices]
    if all(device.kind == "cpu" and device.reason is None and device.drift is None for _, device in devices):
        return
    columns = (Column("HOST"), Column("SLOT", right=True), Column("DEVICE"), Column("STATE", flexible=True))
    rows = [(host, str(device.slot), _called(device), _fitness(device)) for host, device in devices]
    screen.titled_table("devices", columns, rows)


def _called(device: DeviceState) -> str:
    return f"{device.name} ({device.uuid})" if device.uuid else device.name


def _fitness(device: DeviceState) -> Styled:
    if device.reason is not None:
        return Styled(f"drained: {device.reason}", "red")
    return Styled("ready", "green") if device.drift is None else Styled(f"ready, but {device.drift}", "yellow")


def _state_of(daemon: DaemonRecord, running: tuple[JobRecord, ...]) -> str:
    """`draining` becomes `drained` when nothing runs there any more."""
    if daemon.is_missing:
        return f"no sign of life for longer than its lease ({daemon.lease_s:g} s)"
    if daemon.state != "draining":
        return f"{daemon.state}{', to be drained' if daemon.is_drained and daemon.state == 'running' else ''}"
    return "draining" if _held_by(daemon, running) else "drained"


def _held_by(daemon: DaemonRecord, running: tuple[JobRecord, ...]) -> list[JobRecord]:
    return [job for job in running if job.lease_owner == daemon.owner]
