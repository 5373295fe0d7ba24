"""Which job a bundle belongs to, and taking it: senders may choose ids, and two may have chosen the same.

Theory of operation: an id is the name of a job in the database, of an entry in the inbox or in `work/`, and of a
result. These are never looked at in one moment, and on NFS not even within half a minute. So the rename out of the
inbox decides who has a bundle. What is found of its id after that decides whose job it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from daemon import log, results
from daemon.config import Settings
from daemon.db.columns import storable
from daemon.db.history import History
from daemon.db.records import Lease, NewJob
from daemon.db.repository import Repository
from daemon.errors import HarnessError, LostClaim
from daemon.intake.glance import glance
from daemon.intake.names import split_job_id
from daemon.intake.spool import Claimed, Spool

_BETWEEN_S = 5.0  # a claimed bundle is registered in milliseconds, unless its daemon was killed just then
_PAUSE_S = 0.05
_AT_ONCE = 8  # threads that wait for the disk, which syncs what several ask for in one go
_Given = TypeVar("_Given")
_Found = TypeVar("_Found")


class Claims:
    """Claims bundles of one home. Safe to use from several threads."""

    def __init__(self, settings: Settings, spool: Spool, repository: Repository, history: History) -> None:
        self._settings = settings
        self._spool = spool
        self._repository = repository
        self._history = history

    def claim(self, name: str, *, came_later: bool = False) -> Claimed:
        """Take `inbox/NAME`. Raises as `Spool.claim`, and `HarnessError` when the database does not answer.

        A job id in the name counts, unless

        - the job has ended: whoever drops that bundle again wants it judged again;
        - the job is another submitter's, who waits for its result;
        - no job has the id, and the entry `came_later` than another with it;
        - no job has the id, and there is a result of it: a job of an earlier database had it.
        """
        _, chosen = split_job_id(name)
        return self._spool.claim(name, anew=chosen is not None and self._is_taken(chosen, name, came_later=came_later))

    def _is_taken(self, job_id: str, name: str, *, came_later: bool) -> bool:
        """Whether this id of `inbox/NAME` is not, or no longer, to be had."""
        known = self._history.where_is(job_id)
        if known is None:
            return came_later or self.has_result(job_id)
        is_anothers = known.submitter_uid not in (None, self._spool.submitter_of(name))
        if is_anothers and not known.state.final:
            log.story("its id is another submitter's", name=name, id=job_id)
        return known.state.final or is_anothers

    def claimed_together(self, entries: Iterable[str]) -> list[Claimed]:
        """Claim several, and return those that nobody else was quicker to claim. Raises `HarnessError` as for one, with
        none claimed."""

        def claim(name: str) -> Claimed | None:
            try:
                return self._spool.claim(name)
            except LostClaim:
                return None

        found, fault = together(claim, entries)
        claimed = [one for one in found if one is not None]
        if fault is not None:
            self.give_back(claimed)
            raise fault
        return claimed

    def give_back(self, claimed: Iterable[Claimed], *, keep_ids: bool = False) -> None:
        """Return to the inbox, as they came, claimed bundles that are in no database. `keep_ids`: a database may have
        them all the same, and whoever claims one next is to find that job."""
        for one in claimed:
            self._spool.give_back(one, keep_id=keep_ids or one.own_id)

    def as_its_own(self, claimed: Claimed, *, just_now: bool = False) -> Claimed:
        """A claimed bundle that the database knew already: as it is, or queued as another job if its sender's id is
        another bundle's. Raises `LostClaim` when it is gone.

        Two daemons may claim two bundles of one id at the same moment. On NFS it may take half a minute until one sees
        what the other has claimed. If it was claimed `just_now`, its job may have ended meanwhile.
        So it may have when its daemon died then: that job's bundle has been put away.
        """
        known = self._history.where_is(claimed.job_id) if claimed.own_id else None
        if known is None or known.work_name is None:
            return claimed
        if known.work_name == storable(claimed.path.name) and not (
            known.state.final and (just_now or self._spool.is_put_away(claimed))
        ):
            return claimed
        others = {storable(other.path.name) for other in self._spool.held_for(claimed.job_id)}
        if not known.state.final and known.work_name not in others:
            # The same bundle, taken out of work/ by hand and dropped again.
            self._repository.moved(claimed.job_id, known.work_name, claimed.path.name)
            return claimed
        another = self._spool.as_another(claimed)
        self._repository.register(new_job(another))
        log.story("another bundle has its id", job=another.job_id, name=another.name, id=claimed.job_id)
        return another

    def own(self, job_id: str, work_name: str | None) -> list[Claimed]:
        """The claimed bundle of a job, without others that came with its id."""
        found = None if work_name is None else self._spool.held_as(work_name, job_id)
        if found is not None:
            return [found]
        return [one for one in self._spool.held_for(job_id) if is_its_own(one, work_name)]

    def is_new(self, job_id: str, known: Collection[str]) -> bool:
        """Whether no job of this id is `known`, and none had it in an earlier database."""
        return job_id not in known and not self.has_result(job_id)

    def has_result(self, job_id: str) -> bool:
        """Whether a result of this id is visible: another result of it would find its place taken."""
        return bool(self.results_of(job_id))

    def results_of(self, job_id: str) -> list[Path]:
        """Where visible results of a job lie. A folder that cannot be looked at counts as empty: the next write there
        says what is wrong."""
        try:
            return results.released(self._settings.paths, job_id)
        except OSError:
            return []

    def lease_to_end(self, job_id: str) -> Lease | None:
        """A lease of the job, whatever its state. A bundle that nobody has claimed yet is claimed for it."""
        owner, lease_s = self._spool.owner.tag, self._settings.lease_s
        deadline_s = time.monotonic() + _BETWEEN_S
        while True:
            for name in self._spool.waiting_for(job_id):
                with suppress(LostClaim):
                    lease = self._claimed_for(job_id, name)
                    if lease is not None:
                        return lease
            lease = self._repository.seize(job_id, owner, lease_s)
            # A daemon may just have claimed the bundle and be about to register it, or be giving it back.
            if lease is not None or time.monotonic() > deadline_s or not self._spool.has(job_id):
                return lease
            time.sleep(_PAUSE_S)

    def _claimed_for(self, job_id: str, name: str) -> Lease | None:
        """Claim `inbox/NAME`, whose name has that id, with its lease; if that job has ended, as another job. None if it
        is another submitter's. If the database does not answer, the bundle goes back."""
        known = self._history.where_is(job_id)
        has_ended = self.has_result(job_id) if known is None else known.state.final
        submitter_uid = None if known is None else known.submitter_uid
        if not has_ended and submitter_uid not in (None, self._spool.submitter_of(name)):
            return None
        claimed = self._spool.claim(name, anew=has_ended)
        try:
            if has_ended or claimed.job_id == job_id:
                job = new_job(claimed)
                lease = self._repository.register_seized(job, self._spool.owner.tag, self._settings.lease_s)
                if lease is None:  # the database has its job under another entry's name; it went back from there
                    self.as_its_own(claimed)
                return lease
            self._repository.register(new_job(claimed))  # the same name again: another job
        except HarnessError:
            self._spool.give_back(claimed, keep_id=True)
            raise
        return None


def together(do: Callable[[_Given], _Found], each: Iterable[_Given]) -> tuple[list[_Found], HarnessError | None]:
    """Call `do` for each, in several threads. Returns what it answered, in their order, and the first `HarnessError`
    that it raised. An error stops none of the other calls."""

    def attempt(given: _Given) -> tuple[list[_Found], HarnessError | None]:
        try:
            return [do(given)], None
        except HarnessError as error:
            return [], error

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        attempts = list(threads.map(attempt, each))
    found = [one for answers, _ in attempts for one in answers]
    return found, next((error for _, error in attempts if error is not None), None)


def is_its_own(claimed: Claimed, work_name: str | None) -> bool:
    """Whether the job of this id, `work_name` in the database, belongs to this entry of `work/`, and not to another
    entry that came with the same id."""
    return not claimed.own_id or work_name in (None, storable(claimed.path.name))


def new_job(claimed: Claimed) -> NewJob:
    """What the database is told about a claimed bundle."""
    seen = glance(claimed.path)
    return NewJob(
        job_id=claimed.job_id,
        name=claimed.name,
        work_name=claimed.path.name,
        submitter_uid=claimed.submitter_uid,
        dropped_at=claimed.dropped_at,
        size_bytes=claimed.size_bytes or 0,
        priority=seen.priority,
        labels=seen.labels,
    )
