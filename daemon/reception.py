"""The way from the inbox to the queue: what is ready is claimed, a bounded number ahead, while there is disk.

Theory of operation: a look goes through all names in the inbox, so its cost grows with the inbox. What it found ready
waits in a `FairQueue` and is claimed from there, turn by turn, without another look. What arrives by a rename joins the
queue at once.

The next look comes when the queue is empty. It comes earlier when looking takes no more than a tenth of the time, and a
minute after the last at the latest. If an entry has been replaced by another meanwhile, that is found out when its turn
comes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from daemon import callers, log
from daemon.callers import Sender
from daemon.config import Settings
from daemon.db.errors import StorageRefused, StorageUnavailable
from daemon.db.history import History
from daemon.errors import HarnessError, LostClaim
from daemon.intake.fairness import FairQueue, within_quota
from daemon.intake.names import split_job_id
from daemon.intake.pause import pause_reason
from daemon.intake.readiness import Readiness
from daemon.intake.spool import Claimed, arrival
from daemon.intake.tracks import EntryState, Seen
from daemon.judging import Clerk
from daemon.mounts import mount_of
from daemon.publishing import Finished

_PAUSES_PER_LOOK = 9
_LONGEST_PAUSE_S = 60.0  # a file server that hung may have made the look as long as it was


@dataclass(frozen=True)
class Doorbell:
    """What the reception calls: before each claim, after it, and when a bundle was refused at the door."""

    looking_at: Callable[[str], None]
    claimed: Callable[[Claimed], None]
    refused: Callable[[Finished], None]


class Reception:
    """Claims bundles for one daemon. For the main loop's thread; `is_open` for any."""

    def __init__(
        self,
        settings: Settings,
        clerk: Clerk,
        history: History,
        owner: str,
        doorbell: Doorbell,
        *,
        postponed: Callable[[], int],
        left_alone: Callable[[], frozenset[Sender]] = frozenset,
    ) -> None:
        """`owner`: what this daemon's leases carry. `postponed`: how many queued jobs it passes over for now.
        `left_alone`: submitters of whom it takes no job now."""
        self._settings = settings
        self._owner = owner
        self._paths = settings.paths
        self._clerk = clerk
        self._history = history
        self._doorbell = doorbell
        self._readiness = Readiness(
            self._paths.inbox,
            quiet_s=settings.quiet_s,
            torn_after_s=settings.torn_after_s,
            own_times=lambda: _is_local(self._paths.inbox),
            callers=lambda: callers.known(settings),
        )
        self._queue = FairQueue()
        self._first: dict[str, str] = {}  # by job id, of the entries that have one
        self._postponed = postponed
        self._left_alone = left_alone
        self._left = 0
        self._next_look_s = 0.0
        self._complaint = log.Complaint()

    def turn(self, moved_in: frozenset[str], now_s: float, *, may_claim: bool) -> int:
        """Look, when it is time to, and claim what is ready while there is room ahead; how many visible entries stay in
        the inbox.

        `moved_in`: names the watcher saw arrive by a rename. Raises `HarnessError` when inbox or database are away.
        """
        if not self._queue or now_s >= self._next_look_s:
            self._look(moved_in, now_s)
        else:
            self._let_in(moved_in, now_s)
        may_claim = may_claim and bool(self._queue) and self.is_open()
        room = self._settings.claim_ahead - self.queued(self._of_those_left_alone()) if may_claim else 0
        for entry in self._next() if room > 0 else ():
            taken = self._claim(entry)
            room -= taken
            self._left -= taken
            if room <= 0:
                break
        return self._left

    def _look(self, moved_in: frozenset[str], now_s: float) -> None:
        started_s = time.monotonic()
        entries = [entry for entry in self._readiness.look(moved_in, now_s) if entry.state is not EntryState.IGNORED]
        self._left = len(entries)
        self._first = {}
        self._note_ids(entries)
        ready = (entry for entry in entries if entry.state in (EntryState.READY, EntryState.TORN))
        self._queue = FairQueue(ready, after=self._queue)
        took_s = time.monotonic() - started_s
        self._next_look_s = now_s + min(_PAUSES_PER_LOOK * took_s, took_s + _LONGEST_PAUSE_S)

    def _let_in(self, moved_in: frozenset[str], now_s: float) -> None:
        arrived = [entry for name in moved_in if (entry := self._readiness.arrived(name, now_s)) is not None]
        self._queue.add(arrived)
        self._note_ids(arrived)
        self._left += len(arrived)

    def _note_ids(self, entries: Iterable[Seen]) -> None:
        for entry in entries:
            if (job_id := split_job_id(entry.name)[1]) is None:
                continue
            first = self._first.setdefault(job_id, entry.name)
            if first != entry.name:
                self._first[job_id] = min(first, entry.name, key=self._arrival)

    def _came_later(self, name: str) -> bool:
        """Whether another entry with the same job id came first. Its sender waits for the id, which everybody who may
        drop bundles can read in the inbox."""
        first = self._first.get(split_job_id(name)[1] or "", name)
        return first != name and self._arrival(first) < self._arrival(name)

    def _arrival(self, name: str) -> tuple[float, str]:
        return arrival(self._paths.inbox / name)

    def _next(self) -> Iterator[Seen]:
        """What may be claimed, in order: submitters take turns, and so do callers over HTTP."""
        quota, left_alone = self._settings.submitter_quota, self._left_alone()
        on_the_way = self._unfinished() if quota is not None else {}
        entries = (entry for entry in self._queue.take() if entry.sender not in left_alone)
        return within_quota(entries, on_the_way, quota)

    def _claim(self, entry: Seen) -> int:
        self._doorbell.looking_at(entry.name)
        try:
            if not self._readiness.is_still_there(entry.name):
                return 0
            self._take(entry)
        except LostClaim:
            return 0
        except (StorageUnavailable, StorageRefused):  # or all of the inbox would be claimed, and none of it queued
            raise
        except (HarnessError, OSError) as error:  # this entry only, say a folder of another user: others must not wait
            self._complaint.say(f"cannot claim {entry.name}: {error}")
            return 0
        except Exception:  # noqa: BLE001 - the wall of one entry: a bug must not end the daemon
            log.LOGGER.exception("an entry of the inbox met a bug in evald: %s", entry.name)
            return 0
        finally:
            self._readiness.forget(entry.name)
        return 1

    def _take(self, entry: Seen) -> None:
        if entry.state is not EntryState.TORN:
            self._doorbell.claimed(self._clerk.take_in(entry.name, came_later=self._came_later(entry.name)))
            return
        reason = f"the bundle never became complete: {entry.reason}"
        finished = self._clerk.publisher.refuse(entry.name, reason, came_later=self._came_later(entry.name))
        if finished is not None:
            self._doorbell.refused(finished)

    def _of_those_left_alone(self) -> int:
        """How many queued jobs take nobody's place, because nothing of their submitters is taken now. No more bundles
        of these submitters are claimed."""
        if not (left_alone := self._left_alone()):
            return 0
        return sum(count for sender, count in self._unfinished().items() if sender in left_alone)

    def _unfinished(self) -> dict[Sender, int]:
        return self._history.unfinished_by_submitter(callers.known(self._settings))

    def queued(self, aside: int = 0) -> int:
        """How many jobs that this daemon may judge now wait in the database, counted only as far as it claims ahead. A
        job that it had to defer, or postponed, takes nobody's place; nor do `aside` more."""
        passed_over = self._postponed() + aside
        waiting = self._history.waiting_for(self._owner, at_most=self._settings.claim_ahead + passed_over)
        return max(waiting - passed_over, 0)

    def is_open(self) -> bool:
        """Whether bundles may be claimed and jobs begun: not while an operator has paused it, nor without disk."""
        return not self._is_paused() and self.has_disk()

    def _is_paused(self) -> bool:
        reason = pause_reason(self._paths)
        if reason is not None:
            self._complaint.say(f"paused by {self._paths.pause}{f': {reason}' if reason else ''}")
        return reason is not None

    def has_disk(self) -> bool:
        """Whether there is room to judge and to keep results, in bytes and in files. Below the mark nothing is claimed
        or begun; nothing is lost.
        """
        lack = self._clerk.disks.lack()
        if lack is not None:
            self._complaint.say(lack)
        return lack is None


def _is_local(inbox: Path) -> bool:
    """Whether the file system there is known to be this host's own."""
    mount = mount_of(inbox)
    return mount is not None and not mount.is_network
