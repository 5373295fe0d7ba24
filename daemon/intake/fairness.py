"""Whose bundle next: submitters take turns, and none may have more than its quota on the way. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest

from daemon.intake.readiness import Seen


def in_turns(entries: Iterable[Seen]) -> Iterator[Seen]:
    """The entries, each submitter's in the order given: everybody's first, then everybody's second, and so on."""
    by_submitter: dict[int | None, list[Seen]] = defaultdict(list)
    for entry in entries:
        by_submitter[entry.submitter_uid].append(entry)
    if len(by_submitter) == 1:
        yield from next(iter(by_submitter.values()))
        return
    for round_ in zip_longest(*by_submitter.values()):
        yield from (entry for entry in round_ if entry is not None)


def within_quota(entries: Iterable[Seen], on_the_way: Mapping[int | None, int], quota: int | None) -> Iterator[Seen]:
    """The entries that may be claimed: a submitter has at most `quota` bundles claimed and not finished. The rest stay
    where they are."""
    counts = dict(on_the_way)
    for entry in entries:
        count = counts.get(entry.submitter_uid, 0)
        if quota is None or count < quota:
            counts[entry.submitter_uid] = count + 1
            yield entry
