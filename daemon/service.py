"""The composition root: puts the rooms together and runs them until told to stop.

Theory of operation: the main thread watches the inbox, claims what is ready (a bounded number ahead), sends heartbeats
and reconciles. Other threads lease jobs and have them judged (`runner`), as many as the engine wants at once. A stop
cancels what runs, gives every unfinished bundle back to the inbox and ends; a kill at any point is repaired by the next
start.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress

from daemon import callers, log
from daemon.config import Settings
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import Lease
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.engine import Engine
from daemon.errors import EvaldError, HarnessError, OperatorError
from daemon.executor import catalog
from daemon.fitness import Fitness
from daemon.health import Monitor
from daemon.intake.owner import Owner
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Clerk
from daemon.listener import Listener
from daemon.notify import Notifier
from daemon.outage import Outage
from daemon.presence import Presence
from daemon.reception import Doorbell, Reception
from daemon.reconcile import Reconciler
from daemon.returns import Returns
from daemon.runner import Runner
from daemon.scheduler.heartbeats import Heartbeats
from daemon.scheduler.tally import Summary
from daemon.scheduler.workers import Workers
from daemon.watcher import Watcher

_LOOK_THROUGH_S = 30.0  # a file that takes longer counts as damaged
_RECONCILING = "repairing what dead daemons left"


class _Stopped(Exception):  # noqa: N818 - no error: what is left is for the next start
    """It is to end, in the middle of its repairs."""


def require_soundness(database: Database) -> None:
    """Look through a database of which a read has told that it is damaged. Raises `OperatorError` where it is: what is
    written to it may be lost, or spread the damage."""
    if (damage := database.damage) is None:
        return
    if not database.is_sound_after_all(_LOOK_THROUGH_S):
        raise OperatorError(damage.message, hint=damage.hint)
    log.story("the database is sound: its disk failed to read it once", level=logging.WARNING, reason=damage)


class Service:
    """One daemon over one home. Use `opening.opened`."""

    def __init__(
        self, settings: Settings, engine: Engine, listener: Listener, notifier: Notifier | None = None
    ) -> None:
        paths, spool = settings.paths, Spool(settings.paths, Owner.current())
        owner = spool.owner
        self._settings = settings
        self._engine = engine
        self._listener = listener
        self._database = Database(settings.database_url, must_be_sound=True)
        repository, history = Repository(self._database, max_attempts=settings.max_attempts), History(self._database)
        self._monitor = Monitor(notifier or Notifier(), history, slots=engine.slots, metrics_file=settings.metrics_file)
        watched = self._monitor.watched(engine)
        self._fitness = Fitness(watched)
        types = catalog.contract_types(catalog.load(settings.backend_paths))
        self._clerk = Clerk(settings, spool, repository, history, watched, types)
        self._returns = Returns(spool, history, self._clerk, self._monitor.working)
        daemons = DaemonRepository(self._database)
        self._presence = Presence(
            daemons, history, owner, self._fitness.devices, inbox=paths.inbox, lease_s=settings.lease_s
        )
        self._heartbeats: Heartbeats[Lease] = Heartbeats(
            settings.lease_s / 3,
            lambda lease, progress: repository.heartbeat(lease, settings.lease_s, progress),
            lambda lease: engine.cancel(lease.job_id),
        )
        self._runner = Runner(
            repository,
            self._clerk,
            self._monitor,
            self._heartbeats,
            listener,
            engine.cancel,
            owner=owner.tag,
            lease_s=settings.lease_s,
            may_take=self._may_take,
            callers=lambda: callers.known(settings),
        )
        self._reconciler = Reconciler(
            paths, spool, repository, history, self._clerk, self._runner.is_at, self._while_reconciling
        )
        self._watcher = Watcher(paths.inbox, polling=settings.polling, scan_interval_s=settings.scan_interval_s)
        self._workers: Workers[Lease, callers.Sender] = Workers(
            engine.at_once, self._runner.take, self._runner.work, self._sender_of
        )
        self._reception = Reception(
            settings,
            self._clerk,
            history,
            owner.tag,
            Doorbell(self._claiming, self._claimed, self._runner.count),
            postponed=lambda: len(self._runner.postponed()),
            left_alone=self._workers.left_alone,
        )
        self._stop = threading.Event()
        self._in_inbox = 0  # when it was last looked at
        self._next_reconcile_s = 0.0
        self._outage = Outage()
        self._until_idle = False
        self._unfit: EvaldError | None = None  # what ended a sweep

    # -- running ------------------------------------------------------------------------------------------------

    def run(self) -> Summary:
        """Judge what comes until `stop`."""
        return self._main(until_idle=False)

    def sweep(self) -> Summary:
        """Judge what is waiting, then end. What is still being written when all else is done is left for the next
        sweep."""
        return self._main(until_idle=True)

    def stop(self) -> None:
        """End soon. May be called from any thread."""
        self._stop.set()
        self._watcher.wake()

    def _main(self, *, until_idle: bool) -> Summary:
        self._until_idle = until_idle
        with self._monitor.watching():
            summary = self._watch()
        if self._unfit is not None:
            raise self._unfit
        return summary

    def _watch(self) -> Summary:
        self._reconcile_at_start()
        with self._watcher:
            log.story("watching", inbox=self._settings.paths.inbox, mode=self._watcher.mode, slots=self._engine.slots)
            self._workers.start()
            self._monitor.ready()
            try:
                self._loop()
            finally:
                self._shut_down()
        return self._runner.tally.summary

    def _loop(self) -> None:
        quiet_since_s: float | None = None
        hints = self._watcher.wait(0)
        while not self._stop.is_set():
            now_s = time.monotonic()
            waiting = self._tick(hints.moved_in, now_s)
            self._monitor.turn(
                inbox=self._in_inbox,
                running=len(self._heartbeats.leases),
                judged=self._runner.tally.summary.judged,
                drained=sum(device.reason is not None for device in self._fitness.devices()),
                trouble=self._outage.reason,
            )
            if self._until_idle:
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
        """One turn: claim, beat, reconcile. Returns how many entries wait in the inbox; at least one while storage does
        not answer, because such faults are waited out. Raises `OperatorError` for a damaged database, whichever thread
        met it."""
        self._heartbeats.send()
        self._require_sound_database()
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

    def _require_sound_database(self) -> None:
        if self._database.damage is not None:
            self._monitor.working("looking through the database")
            require_soundness(self._database)

    def _reconcile_at_start(self) -> None:
        """A sweep ends when database or disk do not answer; a daemon tries again at its first turn. Raises
        `OperatorError` for a damaged database."""
        try:
            self._reconcile()
        except (HarnessError, OSError) as error:
            self._require_sound_database()
            if self._until_idle:
                raise
            self._outage.begin(error)

    def _while_reconciling(self) -> None:
        if self._stop.is_set():
            raise _Stopped
        self._monitor.working(_RECONCILING)
        self._heartbeats.send()
        self._presence.remind(time.monotonic())

    def _reconcile(self) -> None:
        self._monitor.working(_RECONCILING)
        self._heartbeats.send(everybody=True)  # or our own leases may be among those that have run out
        self._clerk.settle()
        with suppress(_Stopped):
            self._reconciler.run()
        self._monitor.working("watching the inbox")
        self._next_reconcile_s = time.monotonic() + self._settings.reconcile_s

    def _claiming(self, name: str) -> None:
        """Keep the leases of running jobs while bundles are claimed: a file server may be slow, and there may be
        many."""
        self._monitor.working(f"claiming {name}")
        self._heartbeats.send()

    def _claimed(self, claimed: Claimed) -> None:
        self._listener.claimed(claimed.job_id, claimed.name)
        self._workers.wake()

    def _has_work(self) -> bool:
        """Whether something is judged, or will be. What waits while jobs may not be begun does not count."""
        try:
            return self._workers.have_work(lambda: self._reception.is_open() and self._reception.queued() > 0)
        except (HarnessError, OSError):
            return True

    # -- what others ask, in threads of their own ------------------------------------------------------------------

    def _may_take(self) -> bool:
        return not self._stop.is_set() and self._presence.takes_jobs and self._reception.is_open() and self._can_judge()

    def _sender_of(self, lease: Lease) -> callers.Sender | None:
        """Who is left alone where his jobs fail; None: nobody knows."""
        if lease.submitter_uid is None:
            return None
        return callers.known(self._settings).sender(lease.job_id, lease.submitter_uid)

    def _can_judge(self) -> bool:
        """Whether the engine is fit. A sweep ends where it is not."""
        fault = self._fitness.fault()
        if fault is not None and self._until_idle and not self._stop.is_set():
            self._unfit = fault
            self.stop()
        return fault is None

    # -- the end ------------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Cancel what runs, end the threads, give back what is unfinished."""
        self._monitor.stopping()
        self._stop.set()
        self._clerk.patience.end()
        self._runner.end()
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
        self._returns.of_what_waits(meanwhile=self._heartbeats.send)
