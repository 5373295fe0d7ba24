"""The way from the inbox to the queue: what is ready is claimed, a bounded number ahead, while there is disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass

from daemon import log
from daemon.config import Settings
from daemon.db.errors import StorageUnavailable
from daemon.db.history import History
from daemon.errors import HarnessError, LostClaim
from daemon.intake.readiness import EntryState, Readiness, Seen
from daemon.intake.spool import Claimed
from daemon.judging import Desk, Finished


@dataclass(frozen=True)
class Doorbell:
    """Whom the reception tells: before each claim, after it, and when a bundle was refused at the door."""

    looking_at: Callable[[str], None]
    claimed: Callable[[Claimed], None]
    refused: Callable[[Finished], None]


class Reception:
    """Claims bundles for one daemon. For the main loop's thread; `has_disk` for any."""

    def __init__(self, settings: Settings, desk: Desk, history: History, doorbell: Doorbell) -> None:
        self._settings = settings
        self._paths = settings.paths
        self._desk = desk
        self._history = history
        self._doorbell = doorbell
        self._readiness = Readiness(self._paths.inbox, quiet_s=settings.quiet_s, torn_after_s=settings.torn_after_s)
        self._complaint = log.Complaint()

    def turn(self, moved_in: frozenset[str], now_s: float, *, may_claim: bool) -> int:
        """Look once and claim what is ready while there is room ahead; how many visible entries stay in the inbox.

        `moved_in`: names the watcher saw arrive by a rename. Raises `HarnessError` when inbox or database are away.
        """
        entries = self._readiness.look(moved_in, now_s)
        may_claim = may_claim and bool(entries) and self.has_disk()
        room = self._settings.claim_ahead - self.queued() if may_claim else 0
        waiting = 0
        for entry in entries:
            if entry.state is EntryState.IGNORED:
                continue
            if room > 0 and entry.state in (EntryState.READY, EntryState.TORN):
                room -= self._claim(entry)
            else:
                waiting += 1
        return waiting

    def _claim(self, entry: Seen) -> int:
        self._doorbell.looking_at(entry.name)
        try:
            claimed = self._desk.take_in(entry.name)
        except LostClaim:
            return 0
        except StorageUnavailable:
            raise
        except HarnessError as error:  # this entry only, say a folder of another user: the others must not wait for it
            self._complaint.say(f"cannot claim {entry.name}: {error}")
            return 0
        finally:
            self._readiness.forget(entry.name)
        self._doorbell.claimed(claimed)
        if entry.state is EntryState.TORN:
            finished = self._desk.refuse(claimed, f"the bundle never became complete: {entry.reason}")
            if finished is not None:
                self._doorbell.refused(finished)
        return 1

    def queued(self) -> int:
        """How many jobs wait in the database."""
        return sum(self._history.waiting_counts().values())

    def has_disk(self) -> bool:
        """Whether there is room to judge and to keep results. Below the mark nothing is claimed or begun; nothing is
        lost.
        """
        wanted = self._settings.min_free_bytes
        for folder in (self._paths.state, self._paths.results, self._paths.work):
            free_bytes = shutil.disk_usage(folder).free
            if free_bytes < wanted:
                self._complaint.say(f"{folder} has {free_bytes >> 20} MiB free, {wanted >> 20} are wanted")
                return False
        return True
