"""One job at a slot: leased, judged, and told to whoever listens. Called from the threads of all slots."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from daemon.callers import NOBODY, Callers, Sender
from daemon.db.records import Lease
from daemon.db.repository import Repository
from daemon.engine import Progress
from daemon.errors import LostClaim
from daemon.health import Monitor
from daemon.judging import Clerk, Deferred, Unended
from daemon.listener import Listener
from daemon.publishing import Finished
from daemon.scheduler.heartbeats import Heartbeats
from daemon.scheduler.tally import Tally
from daemon.scheduler.turns import Postponed, Turns
from daemon.verdict import Verdict

_COMES_AGAIN = (Unended.NO_DEVICE, Unended.NO_DATABASE, Unended.NO_BUNDLE)
_AGAIN_S = 30.0  # a device that is set aside is looked at every minute or so


class Runner:
    """Takes jobs for one daemon, whose leases carry `owner` and are kept by `heartbeats`, as long as `may_take()`.
    `cancel` ends a job that is being judged, and does nothing for any other."""

    def __init__(
        self,
        repository: Repository,
        clerk: Clerk,
        monitor: Monitor,
        heartbeats: Heartbeats[Lease],
        listener: Listener,
        cancel: Callable[[str], None],
        *,
        owner: str,
        lease_s: float,
        may_take: Callable[[], bool],
        callers: Callable[[], Callers] = lambda: NOBODY,
    ) -> None:
        """`callers`: who sends over HTTP, asked for at each lease."""
        self._repository = repository
        self._clerk = clerk
        self._monitor = monitor
        self._heartbeats = heartbeats
        self._listener = listener
        self._cancel = cancel
        self._is_ending = False
        self._owner = owner
        self._lease_s = lease_s
        self._may_take = may_take
        self._callers = callers
        self._at_work: set[str] = set()  # also jobs whose lease is lost while a slot still has its hands on them
        self._hands = threading.Lock()
        self._turns = Turns()
        self._postponed = Postponed(_AGAIN_S)
        self.tally = Tally()

    def is_at(self, job_id: str) -> bool:
        """Whether a slot has its hands on that job."""
        return job_id in self._at_work

    def postponed(self) -> frozenset[str]:
        """Jobs that are passed over for a while: they wait for a device which is set aside, or could not begin."""
        return self._postponed.ids(time.monotonic())

    def take(self, left_alone: frozenset[Sender]) -> Lease | None:
        """The next job for a slot, with `work` to do it. Not of submitters that are `left_alone`.

        Passed over are jobs that are postponed, and jobs that another slot is still at: a lease may run out while the
        database is away.
        """
        self._monitor.asking()
        if not self._may_take():
            return None
        self._clerk.settle()
        callers = self._callers()
        while (lease := self._lease_next(left_alone, callers)) is not None:
            if self._lay_hands_on(lease.job_id):
                self._turns.served(callers.sender(lease.job_id, lease.submitter_uid))
                return lease
            with suppress(LostClaim):  # begun by another slot, and its lease lost, since this one began to ask
                self._clerk.put_back(lease, "another slot of this daemon is still at it")
        return None

    def _lease_next(self, left_alone: frozenset[Sender], callers: Callers) -> Lease | None:
        return self._repository.lease_next(
            self._owner,
            self._lease_s,
            self._turns.order,
            callers=callers,
            oldest=self._turns.is_for_the_oldest(),
            passed_over=self._at_work | self.postponed(),
            not_of=left_alone,
        )

    def _lay_hands_on(self, job_id: str) -> bool:
        """False when another slot has its hands on that job."""
        with self._hands:
            is_free = job_id not in self._at_work
            self._at_work.add(job_id)
            return is_free

    def work(self, lease: Lease) -> bool:
        """Do what `take` answered: whether evald did what it should."""
        ended = False
        try:
            self._monitor.taking(lease.name)
            self._heartbeats.add(lease)
            self._listener.started(lease.job_id, lease.name)
            outcome = self._clerk.judge(lease, self._on_progress)
            ended = True
        finally:
            self._heartbeats.remove(lease.job_id)
            self._at_work.discard(lease.job_id)
            if not ended:
                self.tally.failed(lease.job_id)
        if isinstance(outcome, Deferred):
            self._listener.deferred(outcome)
        elif isinstance(outcome, Finished):
            self.count(outcome)
            return outcome.evaluation.verdict is not Verdict.HARNESS_ERROR
        elif outcome in _COMES_AGAIN:  # were it only this job, others could begin
            return self._postponed.add(lease.job_id, time.monotonic())
        return outcome is not Unended.RETRIED

    def end(self) -> None:
        """Cancel what is judged, and from now on what a slot is about to begin."""
        self._is_ending = True
        for lease in self._heartbeats.leases:
            self._cancel(lease.job_id)

    def count(self, finished: Finished) -> None:
        """A job has come to its end, here or before it was queued."""
        self.tally.ended(finished.job_id, passed=finished.evaluation.verdict is Verdict.PASSED)
        self._listener.finished(finished)

    def _on_progress(self, progress: Progress) -> None:
        is_kept = self._heartbeats.note(progress.job_id, progress.text)
        if self._is_ending or not is_kept:  # it was cancelled before the engine knew of it, which nobody remembers
            self._cancel(progress.job_id)
        self._listener.progress(progress)
