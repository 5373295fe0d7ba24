"""What daemons tell about themselves, and which hosts are drained. Nothing here decides about a job."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, exists, select, update

from daemon.db import piles
from daemon.db import repository_rows as rows
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote, DaemonState
from daemon.db.models import Daemon, Drain
from daemon.db.sqlfunctions import now


class DaemonRepository:
    """Writes about daemons. Safe to share between threads. Every method may be called again when its answer is lost;
    every one raises `StorageUnavailable` and `StorageRefused`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def report(self, note: DaemonNote) -> bool:
        """Write down that this daemon lives, now by the database's clock. True: its host is drained, so that it shall
        take nothing new; it is then shown as draining.
        """
        with self._database.write() as connection:
            drained = bool(connection.scalar(select(exists().where(Drain.host == note.host))))
            state = DaemonState.DRAINING if drained else DaemonState.RUNNING
            devices = [vars(device) for device in note.devices]
            told = {**vars(note), "devices": devices, "state": state, "seen_at": now()}
            statement = rows.upsert(connection.dialect.name, Daemon).values(**told, started_at=now())
            connection.execute(statement.on_conflict_do_update(index_elements=[Daemon.owner.key], set_=told))
        return drained

    def mark_stopped(self, owner: str) -> None:
        """This daemon ends and holds nothing any more. Its deferrals are forgotten, as if it had never seen these
        jobs."""
        stopped = update(Daemon).where(Daemon.owner == owner).values(state=DaemonState.STOPPED, seen_at=now())
        with self._database.write() as connection:
            connection.execute(stopped)
        self._forget_deferrals([owner])

    def forget(self, owners: Collection[str]) -> int:
        """Drop the rows of daemons that nobody needs to see any more, and their deferrals. Returns how many there were.
        Their jobs and leases are not touched."""
        self._forget_deferrals(owners)
        with self._database.write() as connection:
            return connection.execute(delete(Daemon).where(Daemon.owner.in_(owners))).rowcount

    def _forget_deferrals(self, owners: Collection[str]) -> None:
        """In small transactions. A kill in the middle leaves the rest to the next daemon of that host."""
        more = True
        while more:
            with self._database.write() as connection:
                more = piles.forget_some(connection, owners)

    def drain(self, host: str) -> bool:
        """From now on the daemons of `host` take no new jobs, nor do those that start later. False: it was so
        before."""
        with self._database.write() as connection:
            if not rows.insert_missing(connection, Drain, Drain.host, {"host": host}, "since"):
                return False
            rows.note(connection, None, "drained", host)
        return True

    def undo_drain(self, host: str) -> bool:
        """The daemons of `host` take jobs again. False: it was not drained."""
        with self._database.write() as connection:
            if connection.execute(delete(Drain).where(Drain.host == host)).rowcount == 0:
                return False
            rows.note(connection, None, "undrained", host)
        return True
