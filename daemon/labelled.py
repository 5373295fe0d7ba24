"""Ending every job that carries a label, a whole sweep at once, wherever its bundles are.

Theory of operation: of a bundle that waits, in the inbox or claimed, the contract tells the labels. Of a job, the
database tells them, from the claim on, if a glance into the contract could. Bundles move from the one to the other
meanwhile, so both are looked at again until nothing more is found. What waits is ended first: otherwise slots that
become free would take the rest of the sweep.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from daemon.batches import batched
from daemon.config import Settings
from daemon.db.history import History
from daemon.errors import HarnessError
from daemon.intake import names
from daemon.intake.glance import labels_of
from daemon.intake.spool import Spool
from daemon.lifecycle import UNFINISHED, JobState
from daemon.publishing import Publisher

_LOOKS = 3  # a sender who goes on sending under this label would keep it busy for ever
_PAGE = 500
_AT_ONCE = 100  # cancelled in one transaction, for which others wait who write


@dataclass(frozen=True)
class Unfinished:
    """A job that has not ended. `job_id` is None for a bundle that nobody has claimed and whose sender chose no id."""

    job_id: str | None
    name: str
    entry: str | None = None


@dataclass(frozen=True)
class Look:
    """`found`: in the order in which they are to be ended. `unread`: names of bundles whose labels are not known before
    they are judged."""

    found: tuple[Unfinished, ...]
    unread: tuple[str, ...]


class Labelled:
    """The unfinished jobs with one label (key, value); with `ending_in` only those whose id ends in these digits."""

    def __init__(
        self, settings: Settings, spool: Spool, history: History, label: tuple[str, str], ending_in: str | None = None
    ) -> None:
        self._inbox = settings.paths.inbox
        self._spool = spool
        self._history = history
        self._label = label
        self._ending_in = ending_in or ""

    def look(self) -> Look:
        """Raises `HarnessError` where the inbox cannot be listed, or the database does not answer."""
        found: dict[str, Unfinished] = {}
        unread: dict[str, str] = {}
        for key, one, labels in (*self._in_inbox(), *self._claimed()):
            if labels is None:
                unread[key] = one.name
            elif labels.get(self._label[0]) == self._label[1]:
                found[key] = one
        for key, one in self._known():
            before = found.pop(key, None)
            unread.pop(key, None)
            # In the inbox as well: it went back there when nobody knew whether the database had heard of it.
            found[key] = one if before is None else replace(one, entry=before.entry)
        return Look(tuple(found.values()), tuple(unread.values()))

    def end(self, publisher: Publisher, by: str) -> Iterator[list[Unfinished]]:
        """Cancel them, many at once, and report each group once it is cancelled. Raises as `look`."""
        for _ in range(_LOOKS):
            if not (found := self.look().found):
                return
            for some in batched(found, _AT_ONCE):
                job_ids = [one.job_id for one in some if one.entry is None and one.job_id is not None]
                entries = {one.entry: one.job_id for one in some if one.entry is not None}
                ended = publisher.cancel_many(job_ids, entries, by)
                yield [Unfinished(one.job_id, one.name) for one in ended]

    def _in_inbox(self) -> Iterator[tuple[str, Unfinished, dict[str, str] | None]]:
        try:
            with os.scandir(self._inbox) as listed:
                entries = sorted(entry.name for entry in listed)
        except FileNotFoundError:
            return
        except OSError as error:
            raise HarnessError(f"cannot list {self._inbox}: {error.strerror or error}") from error
        for entry in entries:
            bare, job_id = names.split_job_id(entry)
            if not names.is_ignored(entry) and self._is_meant(job_id):
                one = Unfinished(job_id, names.readable(bare), entry)
                yield job_id or entry, one, labels_of(self._inbox / entry)

    def _claimed(self) -> Iterator[tuple[str, Unfinished, dict[str, str] | None]]:
        for claimed in self._spool.held():
            if self._is_meant(claimed.job_id):
                yield claimed.job_id, Unfinished(claimed.job_id, claimed.name), labels_of(claimed.path)

    def _known(self) -> Iterator[tuple[str, Unfinished]]:
        cursor = None
        waiting: list[Unfinished] = []
        held: list[Unfinished] = []
        while True:
            ending_in = self._ending_in or None
            page = self._history.jobs(
                state=UNFINISHED, label=self._label, ending_in=ending_in, limit=_PAGE, cursor=cursor
            )
            for job in page.jobs:
                (waiting if job.state is JobState.QUEUED else held).append(Unfinished(job.job_id, job.name))
            if (cursor := page.cursor) is None:
                return ((one.job_id or "", one) for one in (*waiting, *held))

    def _is_meant(self, job_id: str | None) -> bool:
        return (job_id or "").endswith(self._ending_in)
