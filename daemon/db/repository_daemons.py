"""What daemons tell about themselves, and which hosts are drained. Nothing here decides about a job."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, delete, exists, select, update

from daemon.db import repository_rows as rows
from daemon.db.daemon_records import DaemonNote, DaemonState
from daemon.db.models import Daemon, Drain
from daemon.db.sqlfunctions import now


def report(connection: Connection, note: DaemonNote) -> bool:
    """See `Repository.report_daemon`."""
    drained = bool(connection.scalar(select(exists().where(Drain.host == note.host))))
    state = DaemonState.DRAINING if drained else DaemonState.RUNNING
    devices = [vars(device) for device in note.devices]
    told = {**vars(note), "devices": devices, "state": state, "seen_at": now()}
    statement = rows.upsert(connection.dialect.name, Daemon).values(**told, started_at=now())
    connection.execute(statement.on_conflict_do_update(index_elements=[Daemon.owner.key], set_=told))
    return drained


def leave(connection: Connection, owner: str) -> None:
    """See `Repository.daemon_stopped`."""
    connection.execute(update(Daemon).where(Daemon.owner == owner).values(state=DaemonState.STOPPED, seen_at=now()))


def forget(connection: Connection, owners: Collection[str]) -> int:
    """See `Repository.forget_daemons`."""
    return connection.execute(delete(Daemon).where(Daemon.owner.in_(owners))).rowcount


def drain(connection: Connection, host: str) -> bool:
    """See `Repository.drain`."""
    if not rows.insert_missing(connection, Drain, Drain.host, {"host": host}, "since"):
        return False
    rows.note(connection, None, "drained", host)
    return True


def undo_drain(connection: Connection, host: str) -> bool:
    """See `Repository.undo_drain`."""
    if connection.execute(delete(Drain).where(Drain.host == host)).rowcount == 0:
        return False
    rows.note(connection, None, "undrained", host)
    return True
