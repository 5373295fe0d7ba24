"""What a slot does with a job it cannot end: it is not begun twice, costs nobody his attempts, and lets others pass."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from service_bundles import drop
from sqlalchemy import update
from waiting import wait_for

from daemon import fsio, judging, outage, results, runner, service
from daemon.callers import Sender, tag_of
from daemon.config import Deadlines, Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.errors import StorageDamaged, StorageUnavailable
from daemon.db.history import History
from daemon.db.models import Job
from daemon.db.records import AttemptOutcome, JobRecord, Lease
from daemon.db.repository import Repository
from daemon.disks import Disks
from daemon.engine import JobSpec, Progress
from daemon.errors import HarnessError, NoDevice, NotBegun
from daemon.evaluation import Evaluation
from daemon.executor.rehearsal import RehearsalEngine
from daemon.http.tokens import Role, Tokens
from daemon.intake import moves, writing
from daemon.intake.owner import Owner
from daemon.lifecycle import JobState
from daemon.listener import Silence
from daemon.scheduler import faults, workers
from daemon.verdict import Verdict


class Stubborn(RehearsalEngine):
    """Judges "kept" until it is told to end, has no device for "picky", and fails "unlucky"."""

    def __init__(self, slots: int = 2) -> None:
        super().__init__(slots, 0.0)
        self.end = threading.Event()
        self.asked: Counter[str] = Counter()
        self.at_work: list[str] = []
        self.twice = False

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        self.asked[job.name] += 1
        self.twice = self.twice or job.job_id in self.at_work
        if job.name == "picky":
            raise NoDevice("no fit device suits the job")
        if job.name.startswith("unlucky"):
            raise HarnessError("the judge died")
        self.at_work.append(job.job_id)
        try:
            if job.name == "kept":
                self.end.wait(300)
            return super().evaluate(job, on_progress)
        finally:
            self.at_work.remove(job.job_id)

    def cancel(self, job_id: str) -> None:
        """It takes its time."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly a pause after a fault, nor before a job that could not begin is tried again."""
    monkeypatch.setattr(outage, "_PAUSES_S", (0.05,) * 5)
    monkeypatch.setattr(workers, "_PAUSE_AFTER_FAULT_S", 0.05)
    monkeypatch.setattr(faults, "_PAUSE_S", 0.05)
    monkeypatch.setattr(runner, "_AGAIN_S", 0.1)


def made_ready(home: Path, **options: Any) -> Settings:
    """Settings of a home that has all that a daemon needs there."""
    settings = Settings(home=home, quiet_s=0.1, scan_interval_s=0.1, min_free_bytes=1, **options)
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    return settings


def sweep(sweeping: service.Service) -> None:
    """It has to end by itself."""
    thread = threading.Thread(target=sweeping.sweep)
    thread.start()
    thread.join(120)
    assert not thread.is_alive()


@contextmanager
def daemon(home: Path, engine: RehearsalEngine, **options: Any) -> Iterator[service.Service]:
    """One that runs in a thread."""
    running = service.Service(made_ready(home, lease_s=600, **options), engine, Silence())
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        yield running
    finally:
        if isinstance(engine, Stubborn):
            engine.end.set()
        running.stop()
        thread.join(300)
        assert not thread.is_alive()


def jobs(running: service.Service) -> dict[str, JobRecord]:
    return {job.name: job for job in History(running._database).jobs().jobs}


def state(running: service.Service, name: str) -> JobState | None:
    found = jobs(running).get(name)
    return found.state if found else None


def ended(running: service.Service, *names: str) -> bool:
    return all(state(running, name) is JobState.FINISHED for name in names)


def take_back_what_is_judged(running: service.Service, home: Path, engine: Stubborn) -> None:
    """One slot is at `kept`, which waits again; the other has judged `other`, which came later."""
    drop(home, "kept")
    wait_for(lambda: engine.at_work, "the job to begin")
    repository = Repository(running._database, max_attempts=3)
    [lease] = History(running._database).held_by(Owner.current().tag)
    repository.retry(lease, "as if its lease had run out")
    drop(home, "other")
    wait_for(lambda: ended(running, "other"), "the other slot to judge what comes after it")


def test_a_job_that_a_slot_is_still_at_is_not_begun_again_and_others_are(tmp_path: Path) -> None:
    engine = Stubborn()
    with daemon(tmp_path / "home", engine) as running:
        take_back_what_is_judged(running, tmp_path / "home", engine)
        assert jobs(running)["kept"].state is JobState.QUEUED
        engine.end.set()
        wait_for(lambda: ended(running, "kept"), "the job to be judged")
        assert not engine.twice


def test_who_sends_over_http_does_not_wait_for_all_that_another_has_sent_before(tmp_path: Path) -> None:
    engine, home = Stubborn(1), tmp_path / "home"
    with daemon(home, engine) as running:
        for name in ("anna", "bert"):
            Tokens.of(running._settings).add(name, Role.SUBMIT)
        drop(home, "kept")
        wait_for(lambda: engine.at_work, "the job to begin")
        for number, (name, caller) in enumerate((("a1", "anna"), ("a2", "anna"), ("a3", "anna"), ("b1", "bert"))):
            drop(home, f"{name}@{number:024x}{tag_of(caller)}")
            wait_for(lambda name=name: state(running, name), "it to be claimed")
        engine.end.set()
        wait_for(lambda: ended(running, "kept", "a1", "a2", "a3", "b1"), "all to be judged")
    assert list(engine.asked) == ["kept", "a1", "b1", "a2", "a3"]


def test_a_slot_that_asked_before_another_began_a_job_does_not_begin_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited for the database so long that the other's lease ran out: what it passes over is old by then."""
    grant, leased = Repository.lease_next, Counter[str]()

    def late(repository: Repository, *args: object, **more: Any) -> Lease | None:
        if leased["kept"] < 2:
            more["passed_over"] = ()
        lease = grant(repository, *args, **more)
        if lease is not None:
            leased[lease.name] += 1
        return lease

    monkeypatch.setattr(Repository, "lease_next", late)
    engine = Stubborn()
    with daemon(tmp_path / "home", engine) as running:
        take_back_what_is_judged(running, tmp_path / "home", engine)
        assert leased["kept"] == 2
        assert jobs(running)["kept"].attempts == 1
        engine.end.set()
        wait_for(lambda: ended(running, "kept"), "the job to be judged")
        assert not engine.twice


class Slow(RehearsalEngine):
    """Takes its time to begin a job, and would judge it for ever."""

    def __init__(self) -> None:
        super().__init__(1, 3600.0)
        self.asked, self.may_begin = threading.Event(), threading.Event()

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        self.asked.set()
        assert self.may_begin.wait(300)
        return super().evaluate(job, on_progress)


@pytest.mark.parametrize("why", ["its lease is lost", "evald stops"])
def test_a_job_that_is_to_end_before_the_engine_knows_of_it_ends_as_soon_as_it_does(tmp_path: Path, why: str) -> None:
    engine, home = Slow(), tmp_path / "home"
    with daemon(home, engine, deadlines=Deadlines(stop_s=600)) as running:
        drop(home, "kept")
        assert engine.asked.wait(300)
        if why == "evald stops":
            running.stop()
            wait_for(lambda: running._runner._is_ending, "the stop to have come so far")
        else:
            repository = Repository(running._database, max_attempts=3)
            [lease] = History(running._database).held_by(Owner.current().tag)
            repository.retry(lease, "as if its lease had run out")
            running._heartbeats._beats[lease.job_id].due_s = 0.0
            wait_for(lambda: not running._heartbeats.leases, "the daemon to find out")
        engine.asked.clear()
        engine.may_begin.set()
        if why != "evald stops":
            assert engine.asked.wait(60), "it is still judged for a lease that is lost"


def test_a_stop_waits_no_longer_than_told_for_a_job_that_does_not_heed_it(tmp_path: Path) -> None:
    engine, home = Stubborn(), tmp_path / "home"
    with daemon(home, engine, deadlines=Deadlines(stop_s=0.2)) as running:
        drop(home, "kept")
        wait_for(lambda: engine.at_work, "the job to begin")
        running.stop()
        wait_for((home / "inbox" / "kept").exists, "it to be given back")
        assert engine.at_work


@pytest.mark.usefixtures("impatient")
def test_a_job_whose_devices_are_set_aside_lets_others_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Stubborn(1)
    with daemon(tmp_path / "home", engine) as running:
        drop(tmp_path / "home", "picky")
        wait_for(lambda: engine.asked["picky"], "the first job to be taken")
        names = [f"good{number}" for number in range(20)]
        for name in names:
            drop(tmp_path / "home", name)
        wait_for(lambda: ended(running, *names), "all others")
        wait_for(lambda: engine.asked["picky"] >= 3, "it to be tried again")

        def is_given_back() -> bool:
            job = jobs(running)["picky"]
            return (job.state, job.attempts) == (JobState.QUEUED, 0)

        wait_for(is_given_back, "it to be given back, at the cost of no attempt")
        history, job_id = History(running._database), jobs(running)["picky"].job_id
        assert len(history.events(job_id)) <= 3, "no events for each try"


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_takes_no_copies_costs_no_job_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = Counter[str]()
    copy = judging.private_copy

    def full(entry: Path, *more: object) -> object:
        tried[entry.name] += 1
        if sum(tried.values()) < 20:
            raise NotBegun("cannot write: No space left on device")
        return copy(entry, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "private_copy", full)
    # Asked before a job is begun, when there is room, and after it failed, when there is none.
    lack = "has 0 MiB free"
    monkeypatch.setattr(Disks, "lack_after_fault", lambda _: lack if sum(tried.values()) < 20 else None)
    with daemon(tmp_path / "home", Stubborn()) as running:
        names = ["one", "two", "three"]
        for name in names:
            drop(tmp_path / "home", name)
        wait_for(lambda: ended(running, *names), "all of them, once there is space")
        assert {job.attempts for job in jobs(running).values()} == {1}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("folder", ["jobs", "outbox"])
def test_a_folder_that_takes_no_files_costs_no_job_an_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """A quota that is used up, a disk that is dying, a folder of somebody else: statvfs tells of none of them."""
    put_back, given_back = judging.Clerk.put_back, list[str]()

    def noted(clerk: judging.Clerk, lease: Lease, reason: str) -> None:
        put_back(clerk, lease, reason)
        given_back.append(lease.name)

    monkeypatch.setattr(judging.Clerk, "put_back", noted)
    with daemon(tmp_path / "home", Stubborn(1)) as running:
        place: Path = getattr(running._settings.paths, folder)
        aside = place.with_name("aside")
        place.rename(aside)
        place.write_text("no folder", "utf-8")
        names = ["one", "two", "three"]
        for name in names:
            drop(tmp_path / "home", name)
        wait_for(lambda: bool(given_back), "the first to be put back: from then on none is taken")
        place.unlink()
        aside.rename(place)
        wait_for(lambda: ended(running, *names), "all of them, once files can be written")
        assert {job.attempts for job in jobs(running).values()} == {1}


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_cannot_be_read_costs_no_job_an_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of the claimed bundles is gone, say, and statvfs still answers."""
    names = ["listed", "opened", "read"]
    is_dead, failed, listing, copy = True, Counter[str](), moves.listing, judging.private_copy

    def unlisted(folder: Path) -> list[str]:
        if is_dead and folder.name == "work" and threading.current_thread().name.startswith("slot"):
            failed["listed"] += 1
            raise HarnessError("cannot list work: Input/output error")
        return listing(folder)

    def unread(entry: Path, *more: object) -> object:
        for name in names:
            if is_dead and entry.name.startswith(name):
                failed[name] += 1
                raise HarnessError("cannot open it") if name == "opened" else OSError("Input/output error")
        return copy(entry, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "private_copy", unread)
    monkeypatch.setattr(Disks, "lack_after_fault", lambda _: "takes no files" if is_dead else None)
    with daemon(tmp_path / "home", Stubborn()) as running:
        for name in names:
            drop(tmp_path / "home", name)
        wait_for(lambda: failed["opened"] + failed["read"] > 5, "them to be tried again and again")
        monkeypatch.setattr(moves, "listing", unlisted)
        wait_for(lambda: failed["listed"] > 5, "all of them to be out of reach")
        is_dead = False
        wait_for(lambda: ended(running, *names), "all of them, once it is back")
        assert {job.attempts for job in jobs(running).values()} == {1}


@pytest.mark.parametrize(
    ("where", "answer"),
    [
        ("looked at", errno.ESTALE),
        ("read", errno.ESTALE),
        ("copied", errno.EIO),
        ("copied", errno.ENOSPC),
        ("result", errno.ESTALE),
        ("result", errno.ENOSPC),
        ("result", errno.EDQUOT),
        ("result", errno.EACCES),
    ],
)
def test_a_share_that_fails_for_a_moment_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, answer: int
) -> None:
    """While a bundle is read, and while what was found out is written down, whatever is said of that: it is not found
    out again."""
    monkeypatch.setattr(outage, "_PAUSES_S", (0.01,) * 5)
    module, name = {
        "looked at": (moves, "status"),
        "read": (judging, "private_copy"),
        "copied": (writing, "_write_all"),
        "result": (results, "stage"),
    }[where]
    does, failed = getattr(module, name), list[object]()

    def stale(*args: object) -> object:
        if threading.current_thread().name.startswith("slot") and len(failed) < 5:
            failed.append(args)
            fault = OSError(answer, os.strerror(answer))
            if where == "result":
                raise fault
            if where == "copied":
                raise NotBegun(f"cannot write the copy: {fault.strerror}") from fault
            raise HarnessError(f"cannot look at it: {fault.strerror}") from fault
        return does(*args)

    monkeypatch.setattr(module, name, stale)
    engine = Stubborn()
    with daemon(tmp_path / "home", engine) as running:
        drop(tmp_path / "home", "one")
        wait_for(lambda: ended(running, "one"), "it to be judged")
        assert len(failed) == 5
        assert jobs(running)["one"].attempts == 1
        assert engine.asked["one"] == 1


@pytest.mark.usefixtures("impatient")
def test_a_bundle_that_can_never_be_read_ends_after_its_attempts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad sector: others are judged meanwhile."""
    monkeypatch.setattr(outage, "_PAUSES_S", (0.01, 0.01))
    copy, tried = judging.private_copy, list[str]()

    def unread(entry: Path, *more: object) -> object:
        if entry.name.startswith("bad"):
            tried.append(entry.name)
            raise HarnessError("cannot read it") from OSError(errno.EIO, os.strerror(errno.EIO))
        return copy(entry, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "private_copy", unread)
    with daemon(tmp_path / "home", Stubborn(), max_attempts=2) as running:
        drop(tmp_path / "home", "bad")
        drop(tmp_path / "home", "good")
        wait_for(lambda: ended(running, "good"), "the other one")
        wait_for(lambda: state(running, "bad") is JobState.BROKEN, "it to be given up")
        assert len(tried) == 2 * 3
        assert jobs(running)["bad"].attempts == 2


def test_a_daemon_that_waits_for_a_share_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outage, "_PAUSES_S", (10_000.0,))
    failed = threading.Event()

    def stale(*_: object) -> None:
        failed.set()
        raise HarnessError("cannot read it") from OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(judging, "private_copy", stale)
    with daemon(tmp_path / "home", Stubborn(), deadlines=Deadlines(stop_s=10_000)):
        drop(tmp_path / "home", "one")
        wait_for(failed.is_set, "it to be waited for")
    assert [entry.name for entry in (tmp_path / "home" / "inbox").iterdir()] == ["one"]


@pytest.mark.usefixtures("impatient")
def test_a_lease_whose_answer_is_lost_costs_no_attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grant, lost = Repository.lease_next, list[str]()

    def unheard(repository: Repository, *args: object, **more: object) -> Lease | None:
        lease = grant(repository, *args, **more)  # type: ignore[arg-type]
        if lease is not None and not lost:
            lost.append(lease.job_id)
            raise StorageUnavailable("server closed the connection unexpectedly")
        return lease

    monkeypatch.setattr(Repository, "lease_next", unheard)
    with daemon(tmp_path / "home", Stubborn(1), reconcile_s=0.1) as running:
        drop(tmp_path / "home", "one")
        wait_for(lambda: ended(running, "one"), "it, by another lease")
        assert [job.attempts for job in jobs(running).values()] == [1]


def test_a_database_that_is_away_for_a_moment_while_a_daemon_stops_costs_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Stubborn(1)
    engine._pause_s = 60.0
    monkeypatch.setattr(Stubborn, "cancel", RehearsalEngine.cancel)
    withdraw, tried = Repository.withdraw, list[object]()

    def away(repository: Repository, held: Lease | str) -> bool:
        tried.append(held)
        if len(tried) == 1:
            raise StorageUnavailable("server closed the connection unexpectedly")
        return withdraw(repository, held)

    monkeypatch.setattr(Repository, "withdraw", away)
    with daemon(tmp_path / "home", engine) as running:
        drop(tmp_path / "home", "runs")
        wait_for(lambda: engine.at_work, "the job to begin")
        drop(tmp_path / "home", "waits")
        wait_for(lambda: state(running, "waits") is JobState.QUEUED, "the other to be claimed")
    assert sorted(entry.name for entry in (tmp_path / "home" / "inbox").iterdir()) == ["runs", "waits"]
    assert {job.attempts for job in jobs(running).values()} == {0}


@pytest.mark.usefixtures("impatient")
def test_a_bundle_that_does_not_fit_where_others_do_is_given_up_and_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = judging.private_copy

    def small(entry: Path, *more: object) -> object:
        if entry.name.startswith("huge"):
            raise NotBegun("cannot write: No space left on device")
        return copy(entry, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(judging, "private_copy", small)
    with daemon(tmp_path / "home", Stubborn(1)) as running:
        for name in ("huge", "one", "two"):
            drop(tmp_path / "home", name)
        wait_for(lambda: ended(running, "one", "two"), "the others")
        wait_for(lambda: state(running, "huge") is JobState.BROKEN, "it to be given up")


@pytest.mark.usefixtures("impatient")
def test_a_database_that_does_not_answer_when_a_job_begins_costs_it_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite is locked by a copy for longer than anybody waits for it, say, and free again a moment later."""
    begun = Counter[str]()
    start = Repository.start

    def locked(repository: Repository, lease: Lease, *more: object) -> None:
        begun[lease.name] += 1
        if lease.name == "one" and begun["one"] < 6:
            raise StorageUnavailable("database is locked")
        start(repository, lease, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Repository, "start", locked)
    with daemon(tmp_path / "home", Stubborn(1)) as running:
        for name in ("one", "two"):
            drop(tmp_path / "home", name)
        wait_for(lambda: ended(running, "one", "two"), "both")
        assert begun["one"] == 6
        assert jobs(running)["one"].attempts == 1


@pytest.mark.usefixtures("impatient")
def test_a_disk_that_fails_to_read_the_database_when_a_job_begins_costs_it_no_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = Counter[str]()
    start = Repository.start

    def misread(repository: Repository, lease: Lease, *more: object) -> None:
        begun[lease.name] += 1
        if begun[lease.name] == 1:
            repository._database.damage = StorageDamaged("database disk image is malformed")
            raise repository._database.damage
        start(repository, lease, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Repository, "start", misread)
    with daemon(tmp_path / "home", Stubborn(1)) as running:
        drop(tmp_path / "home", "one")
        wait_for(lambda: ended(running, "one"), "it to be judged")
        assert begun["one"] == 2
        assert jobs(running)["one"].attempts == 1


def test_faults_in_a_row_are_spaced_out_and_end_in_quarantine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    pause_s = faults._pause_s

    def counted(count: int) -> float:
        told.append(pause_s(count))
        return 0.0

    monkeypatch.setattr(faults, "_pause_s", counted)
    with daemon(tmp_path / "home", Stubborn(1)) as running:
        for name in ("unlucky", "unlucky2"):
            drop(tmp_path / "home", name)
            wait_for(lambda name=name: state(running, name) is JobState.BROKEN, "its last attempt")
        drop(tmp_path / "home", "good")
        wait_for(lambda: ended(running, "good"), "the next job")
        assert jobs(running)["unlucky"].verdict is Verdict.HARNESS_ERROR
        attempts = History(running._database).attempts(jobs(running)["unlucky"].job_id)
        assert [one.outcome for one in attempts] == [
            AttemptOutcome.RETRIED,
            AttemptOutcome.RETRIED,
            AttemptOutcome.BROKEN,
        ]
    assert told[::2] == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0], "a job that is given up does not begin the row anew"
    assert told[1::2] == [2.0] * 6, "they are all one submitter's"


def leave_alone_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has a job that fails, by the slot it failed at, which goes on at once."""
    failed = faults.Faults.failed

    def for_long(slot: faults.Faults[Sender], whose: Sender, now_s: float) -> float:
        failed(slot, whose, now_s + 3600.0)
        return 0.0

    monkeypatch.setattr(faults.Faults, "failed", for_long)


def test_a_caller_over_http_whose_jobs_fail_holds_up_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To the file system they are one user."""
    leave_alone_for_long(monkeypatch)
    home = tmp_path / "home"
    with daemon(home, Stubborn(2), claim_ahead=1) as running:
        for name in ("anna", "bert"):
            Tokens.of(running._settings).add(name, Role.SUBMIT)
        for number in range(3):
            drop(home, f"unlucky{number}@{number:024x}{tag_of('anna')}")
        anna = (os.geteuid(), tag_of("anna"))
        wait_for(lambda: anna in running._workers.left_alone(), "all slots to leave her alone")
        drop(home, f"good@{9:024x}{tag_of('bert')}")
        wait_for(lambda: ended(running, "good"), "the other's")
        unlucky = [job for name, job in jobs(running).items() if name.startswith("unlucky")]
        assert sum(job.attempts for job in unlucky) == 2, "one for each slot"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_whoever_has_jobs_that_evald_fails_at_holds_up_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor do those of his that have been claimed: there is room for one."""
    leave_alone_for_long(monkeypatch)
    with daemon(tmp_path / "home", Stubborn(2), claim_ahead=1) as running:
        for number in range(3):
            drop(tmp_path / "home", f"unlucky{number}", uid=4321)
        wait_for(lambda: {(4321, "")} <= running._workers.left_alone(), "all slots to leave him alone")
        names = [f"good{number}" for number in range(5)]
        for name in names:
            drop(tmp_path / "home", name)
        wait_for(lambda: ended(running, *names), "the others")
        unlucky = [job for name, job in jobs(running).items() if name.startswith("unlucky")]
        assert sum(job.attempts for job in unlucky) == 2, "one for each slot"
        assert {job.state for job in unlucky} == {JobState.QUEUED}


def test_a_copy_that_cannot_be_removed_costs_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = fsio.remove_tree

    def refused(folder: Path) -> None:
        if folder.parent.name == "jobs" and folder.exists():
            raise OSError("Read-only file system")
        remove(folder)

    monkeypatch.setattr(fsio, "remove_tree", refused)
    with daemon(tmp_path / "home", Stubborn()) as running:
        drop(tmp_path / "home", "one")
        wait_for(lambda: ended(running, "one"), "its result")
        assert jobs(running)["one"].attempts == 1


def test_a_clock_that_jumps_takes_no_job_from_the_slot_that_is_at_it(tmp_path: Path) -> None:
    """The database's clock goes on while the machine sleeps, and is set; the one that heartbeats go by is not."""
    engine = Stubborn()
    with daemon(tmp_path / "home", engine) as running:
        drop(tmp_path / "home", "kept")
        wait_for(lambda: engine.at_work, "the job to begin")
        with running._database.write() as connection:
            connection.execute(update(Job).values(lease_until=datetime.now(UTC) - timedelta(hours=1)))
        running._next_reconcile_s = 0.0
        wait_for(lambda: running._next_reconcile_s > 0, "it to reconcile")
        engine.end.set()
        wait_for(lambda: ended(running, "kept"), "the job to be judged")
        assert engine.asked["kept"] == jobs(running)["kept"].attempts == 1


def test_a_sweep_does_not_wait_for_a_device_that_is_set_aside(tmp_path: Path) -> None:
    settings = made_ready(tmp_path / "home")
    for name in ("picky", "good"):
        drop(tmp_path / "home", name)
    sweep(service.Service(settings, Stubborn(), Silence()))
    assert [entry.name for entry in settings.paths.inbox.iterdir()] == ["picky"]
    assert [entry.name.partition("@")[0] for entry in settings.paths.archive.iterdir()] == ["good"]


def test_a_sweep_does_not_wait_for_jobs_that_may_not_begin(tmp_path: Path) -> None:
    settings = made_ready(tmp_path / "home")
    settings.paths.pause.write_text("maintenance", "utf-8")
    sweeping = service.Service(settings, Stubborn(), Silence())
    drop(tmp_path / "home", "waiting")
    sweeping._clerk.take_in("waiting")
    sweep(sweeping)
    assert [entry.name for entry in settings.paths.inbox.iterdir()] == ["waiting"]


def test_a_disk_that_fails_to_read_the_database_once_does_not_end_a_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite says of it what it says of a damaged file: until it has been looked through nothing more is written."""
    look, refused = Database.is_sound_after_all, []

    def look_while_a_slot_writes(database: Database, limit_s: float) -> bool:
        with pytest.raises(StorageUnavailable) as caught, database.write():
            pass
        refused.append(caught.value.message)
        return look(database, limit_s)

    monkeypatch.setattr(Database, "is_sound_after_all", look_while_a_slot_writes)
    with daemon(tmp_path / "home", Stubborn()) as running:
        drop(tmp_path / "home", "before")
        wait_for(lambda: ended(running, "before"), "the first one")
        running._database.damage = StorageDamaged("database disk image is malformed")
        wait_for(lambda: running._database.damage is None, "the file to be looked through")
        drop(tmp_path / "home", "after")
        wait_for(lambda: ended(running, "after"), "the other one")
    assert refused
