"""Whose bundle is next: submitters take turns, and so does each caller over HTTP. None may have more bundles on the way
than its quota. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from daemon.callers import Sender
from daemon.intake.tracks import Seen


class FairQueue:
    """Entries that wait for their turn. Those of one submitter stay in the order in which they came: everybody's first,
    then everybody's second, and so on.

    `after` another queue, the submitter who was served longest ago there comes first. To take an entry costs the same
    however long the queue is.
    """

    def __init__(self, entries: Iterable[Seen] = (), *, after: FairQueue | None = None) -> None:
        self._by_sender: dict[Sender, deque[Seen]] = {}
        self._served: dict[Sender, int] = {}  # the turn in which each was served last
        self._turn = 0
        self.add(entries)
        if after is not None:
            self._turn = after._turn
            self._served = {sender: turn for sender, turn in after._served.items() if sender in self._by_sender}

    def __bool__(self) -> bool:
        return bool(self._by_sender)

    def add(self, entries: Iterable[Seen]) -> None:
        """Behind those that are in the queue."""
        for entry in sorted(entries, key=attrgetter("since_ns")):
            self._by_sender.setdefault(entry.sender, deque()).append(entry)

    def take(self) -> Iterator[Seen]:
        """Take entries out, until the queue is empty or the caller has enough."""
        while self._by_sender:
            sender = min(self._by_sender, key=lambda one: self._served.get(one, 0))
            self._turn += 1
            self._served[sender] = self._turn
            entries = self._by_sender[sender]
            entry = entries.popleft()
            if not entries:
                del self._by_sender[sender]
            yield entry


def within_quota(entries: Iterable[Seen], on_the_way: Mapping[Sender, int], quota: int | None) -> Iterator[Seen]:
    """The entries that may be claimed: a submitter has at most `quota` bundles claimed and not finished. The others
    stay where they are."""
    counts = dict(on_the_way)
    for entry in entries:
        count = counts.get(entry.sender, 0)
        if quota is None or count < quota:
            counts[entry.sender] = count + 1
            yield entry
