"""What this daemon tells the others about itself, and what it hears back: whether its host is drained.

Nobody is told to take or to leave a job here: leases alone decide that. A row of `daemon` that is old or wrong misleads
people, and at worst makes a job wait whose bundle is nowhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from daemon import log
from daemon.db.daemon_records import DaemonNote, DaemonRecord
from daemon.db.history import History
from daemon.db.repository_daemons import DaemonRepository
from daemon.engine import DeviceState
from daemon.errors import HarnessError
from daemon.intake.owner import Owner
from daemon.versions import evald_version


class Presence:
    """The signs of life of one daemon. Belongs to the main thread; any thread may ask `takes_jobs`."""

    def __init__(
        self,
        daemons: DaemonRepository,
        history: History,
        owner: Owner,
        devices: Callable[[], tuple[DeviceState, ...]],
        *,
        inbox: Path,
        lease_s: float,
    ) -> None:
        self._daemons = daemons
        self._history = history
        self._owner = owner
        self._devices = devices
        self._note = DaemonNote(owner.tag, owner.host, owner.pid, evald_version(), len(devices()), str(inbox), lease_s)
        self._every_s = lease_s / 3
        self._due_s = 0.0
        self._drained: bool | None = None
        self._is_untold = False  # of a change; `on_change` may fail half way

    @property
    def takes_jobs(self) -> bool:
        """False on a drained host, and until the database has answered for the first time."""
        return self._drained is False

    @property
    def is_drained(self) -> bool:
        return self._drained is True

    def tell(self, now_s: float, on_change: Callable[[], object]) -> None:
        """Tell when it is time to; `on_change` is called when this daemon may take jobs from now on, or no more.

        Raises `StorageUnavailable`; where `on_change` raises, it is called again.
        """
        if now_s < self._due_s and not self._is_untold:
            return
        if self._drained is None:
            self._forget_the_dead()
        drained = self._report()
        self._due_s = time.monotonic() + self._every_s
        changed, was, self._drained = drained is not self._drained, self._drained, drained
        if changed and (drained or was is not None):
            log.story("draining: takes nothing new" if drained else "no longer drained", host=self._owner.host)
        self._is_untold = self._is_untold or changed
        if self._is_untold:
            on_change()
            self._is_untold = False

    def remind(self, now_s: float) -> None:
        """In the middle of something long: that this daemon is still there. What it hears of its host is for `tell`,
        which asks again. Raises `StorageUnavailable`."""
        if self._drained is None or now_s < self._due_s:
            return
        drained = self._report()
        self._due_s = time.monotonic() + (self._every_s if drained is self._drained else 0.0)

    def _report(self) -> bool:
        """Whether this host is drained."""
        return self._daemons.report(replace(self._note, devices=self._devices()))

    def leave(self, *, keep: bool) -> None:
        """The last word: stopped, or (without `keep`, for a sweep) nothing at all. Its failure costs nobody a job."""
        if self._drained is None:
            return
        try:
            if keep:
                self._daemons.mark_stopped(self._owner.tag)
            else:
                self._daemons.forget([self._owner.tag])
        except HarnessError as error:
            log.story("could not tell the others that this daemon ends", level=30, reason=error)

    def _forget_the_dead(self) -> None:
        """Daemons of this host that are no more: nobody needs to see them once another has started. Among them may be
        one with this very tag, for in a container every start can have the same pid; what it deferred is not ours.
        """
        here = [daemon for daemon in self._history.daemons() if daemon.host == self._owner.host]
        dead = {daemon.owner for daemon in here if not self._may_live(daemon)}
        self._daemons.forget(dead | {self._owner.tag})

    def _may_live(self, daemon: DaemonRecord) -> bool:
        """Of one in another pid namespace, a container that was there before this one, say, only what it tells."""
        owner = Owner.of(daemon.owner)
        return owner.may_live(self._owner) if owner.is_seen_from(self._owner) else not daemon.is_missing
