"""Which entries of the inbox are complete and may be claimed.

Theory of operation. A rename into the inbox is one step: what the watcher saw arrive that way is ready at once.
Anything else may still be being written, so it is looked at again and again. It is ready in one of two cases:

- its content says that it is whole, and two looks `stable_s` apart saw the same (the last source of a folder
  may still be half of one);
- nothing in it changed for `quiet_s`.

What certainly misses something (a folder without contract, one in which rsync is writing) is never ready by being
quiet. Unchanged for `torn_after_s`, it is torn.

Time is our own monotonic clock between our own looks. A file's mtime is only compared with what it was before, never
with a clock: on NFS the other host's clock may be an hour off. Where the file system is this host's own (`own_times`),
its clock is ours. A whole entry in which nothing changed for `quiet_s` by its ctimes, which no sender can set, then
needs no second look. So a daemon that starts on a full inbox begins at once.

A scan lists all names, but looks deeply at no more than `limit` entries, and for about a second. Submitters take turns,
and whoever was looked at longest ago comes first: one who drops folders that take long to look at holds up himself. Of
one submitter's entries, those that were looked at before and those that were not take turns, both oldest first, so
neither can starve the other. Each entry says itself when its next look is due. Whose an entry is costs less to find out
than what is in it. So it is asked first, for a moment in each scan; entries whose submitter is not known yet count as
one submitter's.

Names are kept with a few numbers each, and forgotten when they vanish. A name whose inode changed is another entry: the
bundle before it was claimed in the meantime. A name may also get another entry of the same inode, or what was ready is
rewritten in place. A listing does not show that. So it is asked when the entry's turn to be claimed has come, and at
each look: what changed starts from nothing.
"""

from __future__ import annotations

import heapq
import os
import stat
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import islice, zip_longest
from math import inf
from pathlib import Path

from daemon import onemount
from daemon.callers import NOBODY, Callers, Sender
from daemon.errors import HarnessError
from daemon.intake import tree
from daemon.intake.names import is_ignored, split_job_id
from daemon.intake.tracks import EntryState, Patience, Seen, Track

_SCAN_BUDGET_S = 1.0
_WHOSE_BUDGET_S = 0.25
_WHOLE_SOONER = 4  # times, than what may not be


class Readiness:
    """Remembers the inbox from scan to scan. Not for several threads at once."""

    def __init__(
        self,
        inbox: Path,
        *,
        quiet_s: float,
        torn_after_s: float,
        stable_s: float | None = None,
        limit: int = 256,
        own_times: Callable[[], bool] = lambda: False,
        callers: Callable[[], Callers] = lambda: NOBODY,
    ) -> None:
        """`stable_s`: a quarter of `quiet_s` unless said otherwise. `own_times`: whether the inbox is on a file system
        whose times are by this host's clock. `callers`: who sends over HTTP, asked for once in each look."""
        self._inbox = inbox
        stable_s = quiet_s / _WHOLE_SOONER if stable_s is None else min(stable_s, quiet_s)
        self._patience = Patience(stable_s, quiet_s, torn_after_s)
        self._limit = max(2, limit)
        self._own_times = own_times
        self._trusts_times = False
        self._tracks: dict[str, Track] = {}
        self._ask_for_callers, self._callers = callers, NOBODY
        self._looked_at: dict[Sender, int] = {}  # when, counted in looks
        self._looks = 0

    def look(self, moved_in: Collection[str], now_s: float) -> list[Seen]:
        """Scan the inbox once and say what is there, first seen first.

        `moved_in`: names that the watcher saw arrive by a rename. `now_s`: `time.monotonic()`. Raises `HarnessError`
        when the inbox cannot be listed; nothing is forgotten then.
        """
        self._callers = self._ask_for_callers()
        ignored = self._scan(now_s)
        for name in moved_in:
            if name in self._tracks:
                self.arrived(name, now_s)
        self._trusts_times = self._own_times()
        self._ask_whose()
        started_s = time.monotonic()
        for name, sender in self._due(now_s):
            self._look_at(name, self._tracks[name], now_s)
            self._looks += 1
            self._looked_at[sender] = self._looks
            if time.monotonic() - started_s > _SCAN_BUDGET_S:
                break
        seen = [track.as_seen(name) for name, track in self._tracks.items()]
        return seen + [Seen(name, EntryState.IGNORED, "hidden or temporary name") for name in ignored]

    def arrived(self, name: str, now_s: float) -> Seen | None:
        """An entry that the watcher saw arrive by a rename: ready without a scan. None: gone, ignored, or known."""
        path = self._inbox / name
        try:
            status = onemount.status(path)
            identity = tree.identity(path, status)
        except OSError:
            return None
        if is_ignored(name):
            return None
        known = self._tracks.get(name)
        if known is None or known.identity not in (None, identity):
            known = self._tracks[name] = Track(None, first_s=now_s, due_s=inf)
        elif known.state is EntryState.READY:
            return None
        known.identity = identity
        known.settle(EntryState.READY, "")
        known.due_s = inf
        self._note_sender(known, name, status.st_uid)
        known.since_ns = known.since_ns or _since_ns(status)
        return known.as_seen(name)

    def is_still_there(self, name: str) -> bool:
        """Whether the entry of this name is still the one that was looked at, unchanged: that may be a while ago."""
        track, path = self._tracks.get(name), self._inbox / name
        try:
            return track is not None and tree.identity(path, onemount.status(path)) == track.identity
        except OSError:
            return False

    def forget(self, name: str) -> None:
        """Drop what is known about a name, because it was claimed: the next entry of that name is a new one."""
        self._tracks.pop(name, None)

    def _scan(self, now_s: float) -> list[str]:
        """Bring the tracks in line with what is in the inbox; returns the ignored names."""
        ignored: list[str] = []
        present: dict[str, int] = {}
        try:
            with os.scandir(self._inbox) as entries:
                for entry in entries:
                    if is_ignored(entry.name):
                        ignored.append(entry.name)
                    else:
                        present[entry.name] = entry.inode()
        except OSError as error:
            hint = "does the folder exist, and may this user read it?"
            raise HarnessError(f"cannot list {self._inbox}: {error.strerror or error}", hint=hint) from error
        for name, track in list(self._tracks.items()):
            if name in present and track.inode is None:  # it arrived by a rename, and no listing had it yet
                track.inode = present[name]
            if present.get(name) != track.inode:
                del self._tracks[name]
        for name, inode in present.items():
            if name not in self._tracks:
                self._tracks[name] = Track(inode, first_s=now_s, due_s=now_s)
        return ignored

    def _ask_whose(self) -> None:
        """The newest first: of the others some may be known at the next scan."""
        started_s = time.monotonic()
        for name, track in reversed(self._tracks.items()):
            if track.submitter_uid is None:
                with suppress(OSError):
                    self._note_sender(track, name, onemount.status(self._inbox / name).st_uid)
                if time.monotonic() - started_s > _WHOSE_BUDGET_S:
                    return

    def _note_sender(self, track: Track, name: str, uid: int) -> None:
        track.submitter_uid, track.caller = uid, self._callers.tag(split_job_id(name)[1], uid)

    def _due(self, now_s: float) -> list[tuple[str, Sender]]:
        """The names to look at in this scan, each with its sender: submitters in turn, as long as there are any."""
        due: dict[Sender, list[tuple[float, float, str]]] = {}
        for name, track in self._tracks.items():
            if track.due_s <= now_s:
                due.setdefault(track.sender, []).append((track.due_s, track.first_s, name))
        self._looked_at = {sender: looks for sender, looks in self._looked_at.items() if sender in due}
        order = sorted(due, key=lambda sender: self._looked_at.get(sender, 0))
        turns = zip_longest(*([(name, sender) for name in self._both_kinds(due[sender])] for sender in order))
        in_turn = (one for turn in turns for one in turn if one is not None)
        return list(islice(in_turn, self._limit))

    def _both_kinds(self, due: list[tuple[float, float, str]]) -> list[str]:
        """The entries of one submitter that may be looked at: in turn one that was looked at before and one that was
        not."""
        again = heapq.nsmallest(self._limit, (item for item in due if self._tracks[item[2]].looked))
        fresh = heapq.nsmallest(self._limit, (item for item in due if not self._tracks[item[2]].looked))
        in_turn = (item for pair in zip_longest(again, fresh) for item in pair if item is not None)
        return [name for _, _, name in islice(in_turn, self._limit)]

    def _look_at(self, name: str, track: Track, now_s: float) -> None:
        path = self._inbox / name
        try:
            status = onemount.status(path)
            mode, identity = status.st_mode, tree.identity(path, status)
            self._note_sender(track, name, status.st_uid)
            track.since_ns = track.since_ns or _since_ns(status)
            if track.state is EntryState.READY and identity != track.identity:
                track.looked = False  # what was seen before was another one
            track.identity = identity
            if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                track.settle(EntryState.READY, "")  # claiming does not open it, copying rejects it
                track.due_s = now_s + self._patience.rest_s
                return
            look = tree.look_at(path, mode)
            # Asked for after the look: what changed during it counts.
            is_old = not track.looked and look.complete and self._trusts_times and self._is_old(path, mode)
        except FileNotFoundError:
            track.due_s = now_s
            return
        except OSError as error:
            look, is_old = tree.Look(0, 0, False, True, f"cannot be read: {error.strerror or error}"), False
        track.weigh(look, now_s, self._patience, is_old=is_old)

    def _is_old(self, path: Path, mode: int) -> bool:
        return time.time() - tree.changed_s(path, mode) >= self._patience.quiet_s


def _since_ns(status: os.stat_result) -> int:
    return min(status.st_ctime_ns, time.time_ns())
