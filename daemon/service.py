"""The composition root: builds the rooms from settings and runs them until told to stop.

Theory of operation: the main thread watches the inbox, claims what is ready (a bounded number ahead), sends heartbeats
and reconciles. One thread per device slot leases jobs and judges them. A stop cancels what runs, gives every unfinished
bundle back to the inbox and ends; a kill at any point is repaired by the next start.
"""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Protocol

from daemon import belonging, log
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database, normalised
from daemon.db.errors import StorageUnavailable
from daemon.db.history import History
from daemon.db.records import Lease, Whereabouts
from daemon.db.repository import Repository
from daemon.engine import Engine, Progress
from daemon.errors import EvaldError, HarnessError, LostClaim, OperatorError
from daemon.executor import catalog
from daemon.executor.local import LocalEngine
from daemon.executor.rehearsal import RehearsalEngine
from daemon.health import Monitor
from daemon.intake.owner import Owner
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Deferred, Desk, Unended
from daemon.lifecycle import JobState
from daemon.mounts import mount_of
from daemon.notify import Notifier
from daemon.presence import Presence
from daemon.publishing import Finished, is_its_own
from daemon.reception import Doorbell, Reception
from daemon.reconcile import Reconciler
from daemon.scheduler.pulse import Pulse
from daemon.scheduler.turns import Aside, Turns
from daemon.scheduler.workers import Workers
from daemon.verdict import Verdict
from daemon.watcher import Watcher

_BACK_OFF_S = 2.0
_AGAIN_S = 30.0  # a device that is set aside is looked at every minute or so
_COMPLAIN_EVERY_S = 60.0


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


@dataclass(frozen=True)
class Summary:
    """What a run did: how many jobs ended, how many of them passed, how often evald failed before a job's end."""

    judged: int
    passed: int
    failed: int


class Service:
    """One daemon over one home. Use `opened`."""

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
        self._watched = self._monitor.watched(engine)
        self._desk = Desk(settings, self._spool, self._repository, self._watched, types)
        self._presence = Presence(
            self._repository,
            self._history,
            self._spool.owner,
            engine.devices,
            inbox=self._paths.inbox,
            lease_s=settings.lease_s,
        )
        self._reconciler = Reconciler(
            self._paths,
            self._spool,
            self._repository,
            self._history,
            self._desk,
            is_busy=lambda job_id: job_id in self._at_work,
        )
        self._left_alone = Aside(_AGAIN_S)
        self._reception = Reception(
            settings,
            self._desk,
            self._history,
            self._spool.owner.tag,
            Doorbell(lambda name: self._monitor.working(f"claiming {name}"), self._claimed, self._count),
            left_alone=lambda: len(self._left_alone.names(time.monotonic())),
        )
        self._watcher = Watcher(self._paths.inbox, polling=settings.polling, scan_interval_s=settings.scan_interval_s)
        self._workers: Workers[Lease] = Workers(engine.at_once, self._take, self._work)
        self._pulse: Pulse[Lease] = Pulse(
            settings.lease_s / 3,
            lambda lease, progress: self._repository.heartbeat(lease, settings.lease_s, progress),
            lambda lease: self._engine.cancel(lease.job_id),
        )
        self._at_work: set[str] = set()  # also jobs whose lease is lost while a slot still has its hands on them
        self._stop = threading.Event()
        self._counts_lock = threading.Lock()
        self._judged = 0
        self._passed = 0
        self._failed = 0
        self._next_reconcile_s = 0.0
        self._retry_at_s = 0.0
        self._next_complaint_s = 0.0
        self._complaint = log.Complaint()
        self._turns = Turns()
        self._until_idle = False
        self._unfit: EvaldError | None = None
        self._trouble: str | None = None

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
        return Summary(self._judged, self._passed, self._failed)

    def _loop(self, *, until_idle: bool) -> None:
        quiet_since_s: float | None = None
        hints = self._watcher.wait(0)
        while not self._stop.is_set():
            now_s = time.monotonic()
            waiting = self._tick(hints.moved_in, now_s)
            self._monitor.turn(
                inbox=waiting,
                running=len(self._pulse.leases),
                judged=self._judged,
                drained=sum(device.reason is not None for device in self._engine.devices()),
                trouble=self._trouble,
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
        """One turn: claim, beat, reconcile. Returns how many entries wait in the inbox. Storage faults are waited
        out.
        """
        self._pulse.beat()
        if now_s < self._retry_at_s:
            return 1
        try:
            self._presence.tell(now_s, self._drain_changed)
            waiting = self._reception.turn(moved_in, now_s, may_claim=self._presence.takes_jobs)
            if now_s >= self._next_reconcile_s:
                self._reconcile()
        except (HarnessError, OSError) as error:
            self._retry_at_s = now_s + _back_off_s()
            if self._trouble is None or now_s >= self._next_complaint_s:
                self._next_complaint_s = now_s + _COMPLAIN_EVERY_S
                log.story("waiting for storage", level=30, reason=error)
            self._trouble = str(error)
            return 1
        if self._trouble is not None:
            self._trouble = None
            log.story("storage is back")
        return waiting

    def _reconcile_at_start(self) -> None:
        """A sweep ends when database or disk do not answer; a daemon tries again at its first turn."""
        try:
            self._reconcile()
        except (HarnessError, OSError) as error:
            if self._until_idle:
                raise
            self._trouble = str(error)
            log.story("waiting for storage", level=30, reason=error)

    def _reconcile(self) -> None:
        self._monitor.working("repairing what dead daemons left")
        self._pulse.beat(everybody=True)  # or our own leases may be among those that have run out
        self._reconciler.run()
        self._monitor.working("watching the inbox")
        self._next_reconcile_s = time.monotonic() + self._settings.reconcile_s

    def _claimed(self, claimed: Claimed) -> None:
        self._listener.claimed(claimed.job_id, claimed.name)
        self._workers.wake()

    def _count(self, finished: Finished) -> None:
        with self._counts_lock:
            self._judged += 1
            self._passed += finished.evaluation.verdict is Verdict.PASSED
        self._listener.finished(finished)

    def _has_work(self) -> bool:
        """Whether something is judged, or will be: not what waits while jobs may not be begun."""
        try:
            return self._workers.busy > 0 or (self._reception.is_open() and self._reception.queued() > 0)
        except (HarnessError, OSError):
            return True

    # -- one job, in a slot's thread ------------------------------------------------------------------------------

    def _take(self) -> Lease | None:
        """The next job for a slot. Passed over are those that another slot is still at (a lease may run out while the
        database is away), and for a while those that wait for a device which is set aside, or could not begin."""
        self._monitor.asking()
        if (
            self._stop.is_set()
            or not self._presence.takes_jobs
            or not self._reception.is_open()
            or not self._can_judge()
        ):
            return None
        lease = self._repository.lease_next(
            self._spool.owner.tag,
            self._settings.lease_s,
            self._turns.order,
            oldest=self._turns.is_for_the_oldest(),
            passed_over=self._at_work | self._left_alone.names(time.monotonic()),
        )
        if lease is not None:
            self._turns.served(lease.submitter_uid)
        return lease

    def _can_judge(self) -> bool:
        """Whether the engine is fit. A host that is not leases nothing: no job's attempts are burned on it."""
        try:
            self._watched.ready()
        except (HarnessError, OperatorError) as error:
            self._complaint.say(f"this host cannot judge now: {error}")
            if self._until_idle and not self._stop.is_set():
                self._unfit = error
                self.stop()
            return False
        return True

    def _work(self, lease: Lease) -> bool:
        """Whether evald did what it should."""
        self._monitor.taking(lease.name)
        self._at_work.add(lease.job_id)
        self._pulse.add(lease)
        self._listener.started(lease.job_id, lease.name)
        ended = False
        try:
            outcome = self._desk.judge(lease, self._on_progress)
            ended = True
        finally:
            self._pulse.remove(lease.job_id)
            self._at_work.discard(lease.job_id)
            with self._counts_lock:
                self._failed += not ended
        if isinstance(outcome, Deferred):
            self._listener.deferred(outcome)
        elif isinstance(outcome, Finished):
            self._count(outcome)
            return outcome.evaluation.verdict is not Verdict.HARNESS_ERROR
        elif outcome in (Unended.NO_DEVICE, Unended.NO_DATABASE):  # were it only this job, others could begin
            return self._left_alone.add(lease.job_id, time.monotonic())
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
        self._give_back_all()
        self._presence.leave(keep=not self._until_idle)
        self._database.close()

    def _drain_changed(self) -> None:
        """This host was drained, or takes jobs again."""
        if self._presence.takes_jobs:
            self._workers.wake()
            return
        for claimed in self._held_while(self._waits_here):
            self._pulse.beat()  # there may be many, and what runs goes on
            self._give_back(claimed)

    def _give_back(self, claimed: Claimed) -> None:
        """One that was deferred keeps its job: whoever looks into the inbox can then tell why it waits."""
        with suppress(LostClaim):  # somebody has moved it away
            self._desk.give_back(claimed, keep_id=bool(self._history.deferrals(claimed.job_id)))

    def _give_back_all(self) -> None:
        """Every bundle this daemon claimed, or took over from a dead one, whose job is not finished, nor leased by
        another daemon, goes back to the inbox.
        """
        try:
            for claimed in self._held_while(self._is_ours):
                self._give_back(claimed)
        except (HarnessError, OSError) as error:
            log.story("could not give bundles back; the next start will", level=30, reason=error)

    def _held_while(self, holds: Callable[[Claimed, Whereabouts | None], bool]) -> Iterator[Claimed]:
        """The claimed bundles of which that is so. Asked for all at once, for there may be a hundred thousand; and for
        each again when its turn comes, which may be minutes later.
        """
        held = list(self._spool.held())
        known = self._history.whereabouts({claimed.job_id for claimed in held})
        for claimed in held:
            job_id = claimed.job_id
            if holds(claimed, known.get(job_id)) and holds(claimed, self._history.whereabouts([job_id]).get(job_id)):
                self._monitor.working(f"giving {claimed.name} back")
                yield claimed

    def _waits_here(self, claimed: Claimed, job: Whereabouts | None) -> bool:
        return (
            claimed.owner == self._spool.owner
            and job is not None
            and job.state is JobState.QUEUED
            and is_its_own(claimed, job.work_name)
        )

    def _is_ours(self, claimed: Claimed, job: Whereabouts | None) -> bool:
        if job is not None and not is_its_own(claimed, job.work_name):
            return False
        leased_by = job.lease_owner if job is not None else None
        return leased_by == self._spool.owner.tag or (claimed.owner == self._spool.owner and leased_by is None)


@contextmanager
def opened(
    settings: Settings, listener: Listener | None = None, stopped: Callable[[], bool] | None = None
) -> Iterator[Service]:
    """A service ready to run: folders made, database ready, a judge started and its sandbox tried.

    With `stopped`, a database server that does not answer is waited for until `stopped()`; the service then has no
    judge and is only good for being stopped. Raises `OperatorError` when this host or these settings cannot judge,
    `StorageUnavailable`.
    """
    notifier = Notifier.from_environment()
    notifier.status("opening the database and starting the judge")
    settings.paths.create()
    with ExitStack() as home:
        ready = _database_ready(settings, home, notifier, stopped)
        engine = _engine(settings)
        try:
            if ready:
                engine.start()
            yield Service(settings, engine, listener or Silence(), notifier)
        finally:
            engine.close()


def _database_ready(
    settings: Settings, home: ExitStack, notifier: Notifier, stopped: Callable[[], bool] | None
) -> bool:
    """Make the database ready, and the home its own as long as `home` is open. False: it never answered until
    `stopped()`. SQLite is not waited for: it has no server that could come back. Raises `OperatorError` when the home
    belongs to another database.
    """
    url = settings.database_url
    complain_at_s = 0.0
    while stopped is None or not stopped():
        try:
            migrate.ensure_ready(url)
            _take_home(settings, home)
        except StorageUnavailable as error:
            if stopped is None or normalised(url).get_backend_name() == "sqlite":
                raise
            if time.monotonic() >= complain_at_s:
                complain_at_s = time.monotonic() + _COMPLAIN_EVERY_S
                log.story("waiting for the database, nothing is claimed", level=30, reason=error)
            notifier.status(f"waiting for the database: {error.message}")
            notifier.extend(_COMPLAIN_EVERY_S)
            time.sleep(_back_off_s())
        else:
            return True
    return False


def _take_home(settings: Settings, home: ExitStack) -> None:
    """Where other hosts may share the inbox it stays with its database; else with those that are at work."""
    mount = mount_of(settings.paths.database_id.parent)
    database = Database(settings.database_url)
    try:
        whose = (settings.paths, History(database).database_id(), database.name)
        if mount is not None and mount.is_network:
            belonging.require_own(*whose)
        else:
            home.enter_context(belonging.held(*whose))
    finally:
        database.close()


def _back_off_s() -> float:
    """Not all daemons at the same moment."""
    return _BACK_OFF_S * random.uniform(0.5, 1.5)  # noqa: S311 - no secret


def _engine(settings: Settings) -> LocalEngine | RehearsalEngine:
    if settings.engine == "rehearsal":
        return RehearsalEngine(settings.slots, settings.rehearsal_s, has_gpu=settings.device != "cpu")
    return LocalEngine(settings)


class Stop:
    """Ends what was added to it, also what is added afterwards. May be called from any thread."""

    def __init__(self) -> None:
        self.asked = False
        self._parts: list[Callable[[], None]] = []

    def __call__(self) -> None:
        self.asked = True
        for part in self._parts:
            part()

    def add(self, part: Callable[[], None]) -> None:
        self._parts.append(part)
        if self.asked:
            part()


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM call `stop` once, in a thread of its own; a second one ends the process at once, and the next
    start repairs.

    A handler may interrupt its own thread anywhere: in the middle of a log line, which it could not add another one to,
    or with a lock in its hand. So it does next to nothing, and who listens at the other end of the wakeup descriptor
    does the rest.
    """
    numbers = (signal.SIGINT, signal.SIGTERM)
    told, tell = socket.socketpair()
    tell.setblocking(False)

    def first(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    def listen() -> None:
        while number := told.recv(1):
            if number[0] in numbers:
                log.story("stopping: giving unfinished bundles back (again to end at once)")
                stop()
                return

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    wakeup_before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, first) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        tell.close()
        listener.join()
        told.close()
