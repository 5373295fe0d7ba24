"""One entry of the inbox as it is known from look to look, and what the looks say of it: ready, waiting or torn.

An entry is ready if it is whole and did not change for a while, or if it did not change for longer. It is torn if it
certainly misses something and has not changed for very long.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from daemon.callers import Sender
from daemon.intake.tree import Look

_REST_LIMIT_S = 5.0


class EntryState(StrEnum):
    """Whether an inbox entry may be claimed: READY to be judged, TORN to be quarantined."""

    READY = "ready"
    WAITING = "waiting"
    TORN = "torn"
    IGNORED = "ignored"


@dataclass(frozen=True, slots=True)
class Seen:
    """One entry of the inbox at one scan.

    `reason`: why it waits, is torn or is ignored; empty when it is ready. `submitter_uid`: whose it is, None when
    nobody has looked yet. `since_ns`: when it came, as far as the file system told at the first look, and not in the
    future; 0 when nobody has looked yet. `caller`: who has sent it over HTTP, where all are one user; else empty.
    """

    name: str
    state: EntryState
    reason: str
    submitter_uid: int | None = None
    since_ns: int = 0
    caller: str = ""

    @property
    def sender(self) -> Sender:
        """Who takes turns with others."""
        return self.submitter_uid, self.caller


@dataclass(frozen=True)
class Patience:
    """For how long nothing may have changed, in seconds: in what is whole (`stable_s`), in what may not be whole
    (`quiet_s`), and in what is given up (`torn_after_s`)."""

    stable_s: float
    quiet_s: float
    torn_after_s: float

    @property
    def rest_s(self) -> float:
        """Between looks at what is decided."""
        return max(self.quiet_s, _REST_LIMIT_S)


@dataclass(slots=True)
class Track:
    """What is known about one entry; times are monotonic seconds. `inode`: what a listing says (None: no listing had it
    yet). `identity`: from what stat says; on overlays its inode differs from the listed one."""

    inode: int | None
    first_s: float
    due_s: float
    looked: bool = False
    tree: int = 0
    tree_since_s: float = 0.0
    core: int = 0
    core_since_s: float = 0.0
    state: EntryState = EntryState.WAITING
    reason: str = "new"
    submitter_uid: int | None = None
    since_ns: int = 0
    identity: int | None = None
    caller: str = ""

    @property
    def sender(self) -> Sender:
        return self.submitter_uid, self.caller

    def as_seen(self, name: str) -> Seen:
        return Seen(name, self.state, self.reason, self.submitter_uid, self.since_ns, self.caller)

    def settle(self, state: EntryState, reason: str) -> None:
        self.state, self.reason = state, reason

    def weigh(self, look: Look, now_s: float, patience: Patience, *, is_old: bool) -> None:
        """Compare a look with the one before, and decide; also when the next look is due. `is_old`: it is whole, and by
        its file system's times nothing in it has changed for long enough."""
        whole = hash((self.identity, look.tree))
        if not self.looked or whole != self.tree:
            self.tree, self.tree_since_s = whole, now_s
        if not self.looked or look.core != self.core:
            self.core, self.core_since_s = look.core, now_s
        self.looked = True
        unchanged_s = now_s - self.tree_since_s
        core_unchanged_s = now_s - self.core_since_s
        if is_old or _is_ready(look, patience, unchanged_s, core_unchanged_s):
            self.settle(EntryState.READY, "")
            self.due_s = now_s + patience.rest_s
        elif unchanged_s >= patience.torn_after_s:
            self.settle(EntryState.TORN, f"{look.reason or 'incomplete'}, unchanged for {unchanged_s:.0f} s")
            self.due_s = now_s + patience.rest_s
        else:
            self.settle(EntryState.WAITING, look.reason or "complete; must hold still for a moment")
            self.due_s = now_s + _pause_s(look, patience, unchanged_s)


def _is_ready(look: Look, patience: Patience, unchanged_s: float, core_unchanged_s: float) -> bool:
    if look.blocked:
        return False
    if look.complete and (unchanged_s >= patience.stable_s or core_unchanged_s >= patience.quiet_s):
        return True
    return unchanged_s >= patience.quiet_s


def _pause_s(look: Look, patience: Patience, unchanged_s: float) -> float:
    """Seconds until the next look: soon while it may become ready, less often the longer nothing happens."""
    if not look.blocked:
        return patience.stable_s
    until_torn_s = max(0.0, patience.torn_after_s - unchanged_s)
    return min(max(patience.stable_s, unchanged_s / 4), _REST_LIMIT_S, max(patience.stable_s, until_torn_s))
