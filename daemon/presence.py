"""What this daemon tells the others about itself, and what it hears back: whether its host is drained.

This decides nothing about who takes or leaves a job: leases alone do. A row of `daemon` that is old or wrong misleads
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
        """Tell, when it is time to. `on_change` is called when this daemon may take jobs from now on, or may not any
        more.

        Raises `StorageUnavailable`. Where `on_change` raises, it is called again.
        """
        if now_s < self._due_s and not self._is_untold:
            return
        if self._drained is None:
            self._forget_the_dead()
        drained = self._report()
        if self._drained is None:
            self._warn_of_neighbours()
        self._due_s = time.monotonic() + self._every_s
        changed, was, self._drained = drained is not self._drained, self._drained, drained
        if changed and (drained or was is not None):
            log.story("draining: takes nothing new" if drained else "no longer drained", host=self._owner.host)
        self._is_untold = self._is_untold or changed
        if self._is_untold:
            on_change()
            self._is_untold = False

    def remind(self, now_s: float) -> None:
        """In the middle of something long, tell that this daemon is still there. The answer about its host is left to
        `tell`, which asks again. Raises `StorageUnavailable`."""
        if self._drained is None or now_s < self._due_s:
            return
        drained = self._report()
        self._due_s = time.monotonic() + (self._every_s if drained is self._drained else 0.0)

    def _report(self) -> bool:
        """Whether this host is drained."""
        return self._daemons.report(replace(self._note, devices=self._devices()))

    def leave(self, *, keep: bool) -> None:
        """The last sign of life: stopped. Without `keep`, for a sweep, the row is removed. A failure costs nobody a
        job."""
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
        """Remove daemons of this host that are dead, since another one has started. Among them may be one with this
        very tag, because in a container every start can have the same pid; what that one deferred, this one has not."""
        here = [daemon for daemon in self._history.daemons() if daemon.host == self._owner.host]
        dead = {daemon.owner for daemon in here if not self._may_live(daemon)}
        self._daemons.forget(dead | {self._owner.tag})

    def _warn_of_neighbours(self) -> None:
        """Once: who has typed `evald run` twice sees nothing else of it than times that scatter."""
        own = {device.key for device in self._devices()}
        for daemon in self._history.daemons():
            shared = own & {device.key for device in daemon.devices}
            is_other = daemon.owner != self._owner.tag and daemon.host == self._owner.host
            if is_other and daemon.is_there and shared and self._may_live(daemon):
                what = "another daemon judges here too, and each disturbs the other's times"
                log.story(what, level=30, pid=daemon.pid, device=", ".join(sorted(shared)))

    def _may_live(self, daemon: DaemonRecord) -> bool:
        """Of one in another pid namespace, a container that was there before this one, say, only what it tells."""
        owner = Owner.of(daemon.owner)
        return owner.may_live(self._owner) if owner.is_seen_from(self._owner) else not daemon.is_missing
