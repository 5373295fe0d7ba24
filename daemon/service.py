"""The composition root: puts the rooms together and runs them until told to stop.

Theory of operation: the main thread watches the inbox, claims what is ready (a bounded number ahead), sends heartbeats
and reconciles. One thread per device slot leases jobs and judges them. A stop cancels what runs, gives every unfinished
bundle back to the inbox and ends; a kill at any point is repaired by the next start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable
from contextlib import suppress
from typing import Protocol

from daemon import log
from daemon.config import Settings
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import Lease
from daemon.db.repository import Repository
from daemon.engine import Engine, Progress
from daemon.errors import EvaldError, HarnessError, OperatorError
from daemon.executor import catalog
from daemon.fitness import Fitness
from daemon.health import Monitor
from daemon.intake.owner import Owner
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Clerk, Deferred, Unended
from daemon.notify import Notifier
from daemon.outage import Outage
from daemon.presence import Presence
from daemon.publishing import Finished
from daemon.reception import Doorbell, Reception
from daemon.reconcile import Reconciler
from daemon.returns import Returns
from daemon.scheduler.pulse import Pulse
from daemon.scheduler.tally import Summary, Tally
from daemon.scheduler.turns import Postponed, Turns
from daemon.scheduler.workers import Workers
from daemon.verdict import Verdict
from daemon.watcher import Watcher

_RECONCILING = "repairing what dead daemons left"
_COMES_AGAIN = (Unended.NO_DEVICE, Unended.NO_DATABASE, Unended.NO_BUNDLE)
_AGAIN_S = 30.0  # a device that is set aside is looked at every minute or so


class Listener(Protocol):
    """Who wants to see what happens: the command line's progress, the notifier. Called from several threads."""

    def claimed(self, job_id: str, name: str) -> None: ...
    def started(self, job_id: str, name: str) -> None: ...
    def progress(self, progress: Progress) -> None: ...
    def finished(self, finished: Finished) -> None: ...
    def deferred(self, deferred: Deferred) -> None: ...


class Silence:
    """A listener that does not listen."""

    def claimed(self, job_id: str, name: str) -> None:
        """A bundle was claimed from the inbox."""

    def started(self, job_id: str, name: str) -> None:
        """A job was leased and is being judged."""

    def progress(self, progress: Progress) -> None:
        """A job came further."""

    def finished(self, finished: Finished) -> None:
        """A job ended with a result."""

    def deferred(self, deferred: Deferred) -> None:
        """A job waits for another host, that has a device for it."""


class _Stopped(Exception):  # noqa: N818 - no error: what is left is for the next start
    """It is to end, in the middle of its repairs."""


class Service:
    """One daemon over one home. Use `opening.opened`."""

    def __init__(
        self, settings: Settings, engine: Engine, listener: Listener, notifier: Notifier | None = None
    ) -> None:
        self._settings = settings
        self._paths = settings.paths
        self._engine = engine
        self._listener = listener
        self._database = Database(settings.database_url)
        self._repository = Repository(self._database, max_attempts=settings.max_attempts)
        self._history = History(self._database)
        self._monitor = Monitor(
            notifier or Notifier(), self._history, slots=engine.slots, metrics_file=settings.metrics_file
        )
        self._spool = Spool(self._paths, Owner.current())
        types = catalog.contract_types(catalog.load(settings.backend_paths))
        watched = self._monitor.watched(engine)
        self._fitness = Fitness(watched)
        self._clerk = Clerk(settings, self._spool, self._repository, watched, types, self._history.is_there)
        self._returns = Returns(self._spool, self._history, self._clerk, self._monitor.working)
        self._presence = Presence(
            self._repository,
            self._history,
            self._spool.owner,
            self._fitness.devices,
            inbox=self._paths.inbox,
            lease_s=settings.lease_s,
        )
        self._reconciler = Reconciler(
            self._paths,
            self._spool,
            self._repository,
            self._history,
            self._clerk,
            is_busy=lambda job_id: job_id in self._at_work,
            meanwhile=self._while_reconciling,
        )
        self._postponed = Postponed(_AGAIN_S)
        self._watcher = Watcher(self._paths.inbox, polling=settings.polling, scan_interval_s=settings.scan_interval_s)
        self._workers: Workers[Lease] = Workers(
            engine.at_once, self._take, self._work, lambda lease: lease.submitter_uid
        )
        self._reception = Reception(
            settings,
            self._clerk,
            self._history,
            self._spool.owner.tag,
            Doorbell(self._claiming, self._claimed, self._count),
            postponed=lambda: len(self._postponed.ids(time.monotonic())),
            left_alone=self._workers.left_alone,
        )
        self._pulse: Pulse[Lease] = Pulse(
            settings.lease_s / 3,
            lambda lease, progress: self._repository.heartbeat(lease, settings.lease_s, progress),
            lambda lease: self._engine.cancel(lease.job_id),
        )
        self._at_work: set[str] = set()  # also jobs whose lease is lost while a slot still has its hands on them
        self._stop = threading.Event()
        self._tally = Tally()
        self._in_inbox = 0  # when it was last looked at
        self._next_reconcile_s = 0.0
        self._outage = Outage()
        self._turns = Turns()
        self._until_idle = False
        self._unfit: EvaldError | None = None  # what ended a sweep

    # -- running ------------------------------------------------------------------------------------------------

    def run(self) -> Summary:
        """Judge what comes until `stop`."""
        return self._main(until_idle=False)

    def sweep(self) -> Summary:
        """Judge what is waiting, then end. What is still being written when all else is done stays for next time."""
        return self._main(until_idle=True)

    def stop(self) -> None:
        """End soon. May be called from any thread."""
        self._stop.set()
        self._watcher.wake()

    def _main(self, *, until_idle: bool) -> Summary:
        self._until_idle = until_idle
        with self._monitor.watching():
            summary = self._watch(until_idle=until_idle)
        if self._unfit is not None:
            raise self._unfit
        return summary

    def _watch(self, *, until_idle: bool) -> Summary:
        self._reconcile_at_start()
        with self._watcher:
            log.story("watching", inbox=self._paths.inbox, mode=self._watcher.mode, slots=self._engine.slots)
            self._workers.start()
            self._monitor.ready()
            try:
                self._loop(until_idle=until_idle)
            finally:
                self._shut_down()
        return self._tally.summary

    def _loop(self, *, until_idle: bool) -> None:
        quiet_since_s: float | None = None
        hints = self._watcher.wait(0)
        while not self._stop.is_set():
            now_s = time.monotonic()
            waiting = self._tick(hints.moved_in, now_s)
            self._monitor.turn(
                inbox=self._in_inbox,
                running=len(self._pulse.leases),
                judged=self._tally.summary.judged,
                drained=sum(device.reason is not None for device in self._fitness.devices()),
                trouble=self._outage.reason,
            )
            if until_idle:
                if self._presence.is_drained and self._workers.busy == 0:
                    return
                if self._has_work():
                    quiet_since_s = None
                elif waiting == 0 or (quiet_since_s is not None and now_s - quiet_since_s > self._settings.quiet_s + 1):
                    return
                else:
                    quiet_since_s = quiet_since_s or now_s
            hints = self._watcher.wait(
                min(self._settings.scan_interval_s, 0.2) if waiting else self._settings.scan_interval_s
            )

    def _tick(self, moved_in: frozenset[str], now_s: float) -> int:
        """One turn: claim, beat, reconcile. Returns how many entries wait in the inbox, one at least while storage does
        not tell: such faults are waited out. Raises `OperatorError` for a damaged database, whichever thread met it.
        """
        self._pulse.beat()
        if (damage := self._database.damage) is not None:
            raise OperatorError(damage.message, hint=damage.hint)  # what is written now may be lost, or spread it
        if self._outage.is_too_early(now_s):
            return 1
        try:
            self._presence.tell(now_s, self._drain_changed)
            waiting = self._reception.turn(moved_in, now_s, may_claim=self._presence.takes_jobs)
            self._in_inbox = waiting
            if now_s >= self._next_reconcile_s:
                self._reconcile()
        except (HarnessError, OSError) as error:
            self._outage.failed(error)
            return 1
        self._outage.over()
        return waiting

    def _reconcile_at_start(self) -> None:
        """A sweep ends when database or disk do not answer; a daemon tries again at its first turn."""
        try:
            self._reconcile()
        except (HarnessError, OSError) as error:
            if self._until_idle:
                raise
            self._outage.begin(error)

    def _while_reconciling(self) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._monitor.working(_RECONCILING)
        self._pulse.beat()
        self._presence.remind(time.monotonic())

    def _reconcile(self) -> None:
        self._monitor.working(_RECONCILING)
        self._pulse.beat(everybody=True)  # or our own leases may be among those that have run out
        self._clerk.settle()
        with suppress(_Stopped):
            self._reconciler.run()
        self._monitor.working("watching the inbox")
        self._next_reconcile_s = time.monotonic() + self._settings.reconcile_s

    def _claimed(self, claimed: Claimed) -> None:
        self._listener.claimed(claimed.job_id, claimed.name)
        self._workers.wake()

    def _count(self, finished: Finished) -> None:
        self._tally.ended(passed=finished.evaluation.verdict is Verdict.PASSED)
        self._listener.finished(finished)

    def _has_work(self) -> bool:
        """Whether something is judged, or will be: not what waits while jobs may not be begun."""
        try:
            return self._workers.have_work(lambda: self._reception.is_open() and self._reception.queued() > 0)
        except (HarnessError, OSError):
            return True

    # -- one job, in a slot's thread ------------------------------------------------------------------------------

    def _take(self, left_alone: frozenset[Hashable]) -> Lease | None:
        """The next job for a slot, of nobody of `left_alone` (uids). Passed over are those that another slot is still
        at (a lease may run out while the database is away), and for a while those that wait for a device which is set
        aside, or could not begin."""
        self._monitor.asking()
        if (
            self._stop.is_set()
            or not self._presence.takes_jobs
            or not self._reception.is_open()
            or not self._can_judge()
        ):
            return None
        self._clerk.settle()
        lease = self._repository.lease_next(
            self._spool.owner.tag,
            self._settings.lease_s,
            self._turns.order,
            oldest=self._turns.is_for_the_oldest(),
            passed_over=self._at_work | self._postponed.ids(time.monotonic()),
            not_of=left_alone,
        )
        if lease is not None:
            self._turns.served(lease.submitter_uid)
        return lease

    def _can_judge(self) -> bool:
        """Whether the engine is fit. A sweep ends where it is not."""
        fault = self._fitness.fault()
        if fault is not None and self._until_idle and not self._stop.is_set():
            self._unfit = fault
            self.stop()
        return fault is None

    def _claiming(self, name: str) -> None:
        """A file server may be slow about it, and there may be many: running jobs keep their leases meanwhile."""
        self._monitor.working(f"claiming {name}")
        self._pulse.beat()

    def _work(self, lease: Lease) -> bool:
        """Whether evald did what it should."""
        self._monitor.taking(lease.name)
        self._at_work.add(lease.job_id)
        self._pulse.add(lease)
        ended = False
        try:
            self._listener.started(lease.job_id, lease.name)
            outcome = self._clerk.judge(lease, self._on_progress)
            ended = True
        finally:
            self._pulse.remove(lease.job_id)
            self._at_work.discard(lease.job_id)
            if not ended:
                self._tally.failed()
        if isinstance(outcome, Deferred):
            self._listener.deferred(outcome)
        elif isinstance(outcome, Finished):
            self._count(outcome)
            return outcome.evaluation.verdict is not Verdict.HARNESS_ERROR
        elif outcome in _COMES_AGAIN:  # were it only this job, others could begin
            return self._postponed.add(lease.job_id, time.monotonic())
        return outcome is not Unended.RETRIED

    def _on_progress(self, progress: Progress) -> None:
        self._pulse.note(progress.job_id, progress.text)
        self._listener.progress(progress)

    # -- the end ------------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Cancel what runs, end the threads, give back what is unfinished."""
        self._monitor.stopping()
        self._stop.set()
        for lease in self._pulse.leases:
            self._engine.cancel(lease.job_id)
        self._workers.wake()
        ended = self._workers.stop(self._settings.deadlines.stop_s)
        self._engine.close()
        if not ended:
            self._workers.stop(self._settings.deadlines.stop_s)
        self._returns.of_all()
        self._presence.leave(keep=not self._until_idle)
        self._database.close()

    def _drain_changed(self) -> None:
        """This host was drained, or takes jobs again."""
        if self._presence.takes_jobs:
            self._workers.wake()
            return
        self._returns.of_what_waits(meanwhile=self._pulse.beat)
