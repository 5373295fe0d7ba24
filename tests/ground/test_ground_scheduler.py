"""Worker threads and heartbeats, with plain functions in place of database and engine."""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from daemon import log
from daemon.errors import HarnessError, LostClaim
from daemon.scheduler.faults import Faults
from daemon.scheduler.heartbeats import Heartbeats
from daemon.scheduler.tally import Summary, Tally
from daemon.scheduler.turns import Postponed, Turns
from daemon.scheduler.workers import Workers

LIMIT_S = 120.0


def take_from(jobs: queue.SimpleQueue[int]) -> int | None:
    try:
        return jobs.get_nowait()
    except queue.Empty:
        return None


@pytest.mark.parametrize("slots", [1, 2])
def test_every_job_is_done_once_and_a_bug_in_one_does_not_cost_the_slot(slots: int) -> None:
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    done: list[int] = []
    finished = threading.Event()

    def work(job: int) -> bool:
        if job == 1:
            raise ValueError("a bug")
        done.append(job)
        if len(done) == 3:
            finished.set()
        return True

    workers = Workers(slots, lambda _: take_from(jobs), work)
    workers.start()
    for job in range(4):
        jobs.put(job)
    workers.wake()
    assert finished.wait(LIMIT_S)
    assert workers.stop(LIMIT_S)
    assert sorted(done) == [0, 2, 3]
    assert workers.busy == 0


@pytest.mark.parametrize("how_far", ["being taken", "being done", "done already"])
def test_a_job_that_is_taken_while_somebody_asks_what_waits_is_not_overlooked(how_far: str) -> None:
    """Or a sweep would end, and give a job back that has just begun."""
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    begun, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work(_job: int) -> bool:
        begun.set()
        return go_on.wait(LIMIT_S)

    def take(_: frozenset[object]) -> int | None:
        if go_on.is_set():
            ended.set()
        job = take_from(jobs)
        if job is not None and how_far == "being taken":
            begun.set()
            go_on.wait(LIMIT_S)
        return job

    workers = Workers(1, take, work)
    jobs.put(1)

    def waits() -> bool:
        """Nothing does any more, by the time it answers."""
        workers.start()
        assert begun.wait(LIMIT_S)
        if how_far == "done already":
            go_on.set()
            assert ended.wait(LIMIT_S)
        return False

    assert workers.have_work(waits)
    go_on.set()
    assert workers.stop(LIMIT_S)
    assert not workers.have_work(lambda: jobs.qsize() > 0)
    jobs.put(2)
    assert workers.have_work(lambda: jobs.qsize() > 0)


def test_a_storage_fault_while_taking_is_waited_out() -> None:
    attempts = threading.Semaphore(0)
    outcomes = iter([HarnessError("away"), 7])
    done = threading.Event()

    def take(_: frozenset[object]) -> int | None:
        attempts.release()
        outcome = next(outcomes, None)
        if isinstance(outcome, HarnessError):
            raise outcome
        return outcome

    def work(job: int) -> bool:
        if job == 7:
            done.set()
        return True

    workers = Workers(1, take, work)
    workers.start()
    assert attempts.acquire(timeout=LIMIT_S)
    workers.wake()
    assert done.wait(LIMIT_S)
    assert workers.stop(LIMIT_S)


def test_the_more_jobs_fail_in_a_row_the_longer_a_slot_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [False] * 8 + [True, False]
    pauses: list[float] = []
    monkeypatch.setattr(Workers, "_pause", lambda _, pause_s: pauses.append(pause_s))
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    for job in range(len(outcomes)):
        jobs.put(job)
    workers = Workers(1, lambda _: take_from(jobs), lambda job: outcomes[job])
    workers.start()
    deadline_s = time.monotonic() + LIMIT_S
    while len(pauses) < outcomes.count(False) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert workers.stop(LIMIT_S)
    assert pauses == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0, 2.0]


def test_whoever_has_jobs_that_fail_one_after_the_other_is_left_alone_and_the_slot_goes_on() -> None:
    faults = Faults()
    pauses = [faults.failed("mallory", 100.0) for _ in range(8)]
    assert pauses == [2.0] * 8
    assert faults.left_alone(159.0) == {"mallory"}
    faults.went_well("alice")
    assert faults.left_alone(159.0) == {"mallory"}
    assert faults.left_alone(160.0) == set()
    faults.went_well("mallory")
    faults.failed("mallory", 200.0)
    assert faults.left_alone(201.0) == {"mallory"}
    assert faults.left_alone(202.0) == set()


def test_where_jobs_of_several_fail_it_is_the_slot() -> None:
    faults = Faults()
    assert [faults.failed(uid, 0.0) for uid in (1, 2, 1, 3, 4, 5, 6, 7)] == [2.0, 4.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]
    faults.went_well(1)
    assert faults.failed(2, 0.0) == 2.0
    for uid in range(1000):
        faults.failed(uid, 0.0)
    assert len(faults.left_alone(1.0)) == 64


def test_only_whom_no_slot_serves_is_left_alone_by_all() -> None:
    workers: Workers[int] = Workers(2, lambda _: None, lambda _: True)
    assert workers.left_alone() == set()
    first, second = workers._faults
    for _ in range(9):
        first.failed("mallory", time.monotonic())
    assert workers.left_alone() == set()
    for _ in range(9):
        second.failed("mallory", time.monotonic())
    assert workers.left_alone() == {"mallory"}


def test_a_slot_takes_nothing_of_whoever_it_leaves_alone() -> None:
    asked: queue.SimpleQueue[frozenset[object]] = queue.SimpleQueue()

    def take(left_alone: frozenset[object]) -> int | None:
        asked.put(left_alone)
        return None

    workers = Workers(1, take, lambda _: True)
    for _ in range(9):
        workers._faults[0].failed("mallory", time.monotonic())
    workers.start()
    assert asked.get(timeout=LIMIT_S) == {"mallory"}
    assert workers.stop(LIMIT_S)


def test_what_is_postponed_comes_back_after_a_while_and_is_bounded() -> None:
    postponed = Postponed(30.0)
    postponed.add("one", 0.0)
    postponed.add("two", 10.0)
    assert postponed.ids(29.0) == {"one", "two"}
    assert postponed.ids(31.0) == {"two"}
    for number in range(1000):
        postponed.add(f"more{number}", 31.0)
    assert len(postponed.ids(32.0)) == 200
    assert "more999" in postponed.ids(32.0)


@dataclass(frozen=True)
class Right:
    job_id: str


def test_every_eighth_turn_is_for_the_oldest() -> None:
    turns = Turns()
    found = []
    for _ in range(17):
        found.append(turns.is_for_the_oldest())
        turns.served((None, ""))
    assert [number for number, oldest in enumerate(found, start=1) if oldest] == [8, 16]


def test_a_job_that_evald_failed_at_and_that_has_ended_since_is_not_said_to_be_left() -> None:
    tally = Tally()
    for job_id in ("one", "two", "one"):
        tally.failed(job_id)
    assert tally.summary == Summary(judged=0, passed=0, failed=2)
    tally.ended("one", passed=True)
    tally.ended("three", passed=False)
    assert tally.summary == Summary(judged=2, passed=1, failed=1)


def test_everybody_can_be_told_at_once_and_else_only_what_is_due() -> None:
    beats: list[str] = []
    heartbeats: Heartbeats[Right] = Heartbeats(60.0, lambda lease, _: beats.append(lease.job_id), lambda _: None)
    heartbeats.add(Right("fresh"))
    heartbeats.send()
    assert beats == []
    heartbeats.send(everybody=True)
    assert beats == ["fresh"]


def test_a_heartbeat_carries_the_newest_progress_and_a_lost_lease_is_told_and_forgotten() -> None:
    beats: list[tuple[str, str | None]] = []
    lost: list[str] = []

    def extend(lease: Right, progress: str | None) -> None:
        if lease.job_id == "gone":
            raise LostClaim("gone")
        if lease.job_id == "unheard":
            raise HarnessError("the database is away")
        beats.append((lease.job_id, progress))

    heartbeats: Heartbeats[Right] = Heartbeats(0.0, extend, lambda lease: lost.append(lease.job_id))
    for name in ("kept", "gone", "unheard"):
        heartbeats.add(Right(name))
    assert heartbeats.note("kept", "checking 1/5")
    assert heartbeats.note("kept", "checking 2/5")
    assert not heartbeats.note("nobody", "ignored")
    heartbeats.send()
    assert beats == [("kept", "checking 2/5")]
    assert lost == ["gone"]
    assert {lease.job_id for lease in heartbeats.leases} == {"kept", "unheard"}
    heartbeats.remove("kept")
    heartbeats.remove("kept")
    assert {lease.job_id for lease in heartbeats.leases} == {"unheard"}


def test_news_comes_sooner_than_the_next_heartbeat_and_what_was_told_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.scheduler.heartbeats._NEWS_S", 10.0)
    told: list[str | None] = []
    heartbeats: Heartbeats[Right] = Heartbeats(3600.0, lambda _, progress: told.append(progress), lambda _: None)
    heartbeats.add(Right("one"))
    heartbeats.send()
    assert told == []
    heartbeats.note("one", "checking 1/5")
    heartbeats.send()
    assert told == ["checking 1/5"]
    heartbeats.note("one", "checking 1/5")
    assert heartbeats._beats["one"].due_s > time.monotonic() + 1000
    heartbeats.note("one", "checking 2/5")
    heartbeats.send()
    assert told == ["checking 1/5"], "not every word is worth a transaction"
    heartbeats._beats["one"].due_s = heartbeats._beats["one"].due_s - 10.0
    heartbeats.send()
    assert told == ["checking 1/5", "checking 2/5"]


def test_after_a_storage_fault_every_heartbeat_is_due_again_at_the_next_turn() -> None:
    """Before anybody takes the leases for those of a dead daemon."""
    away, beats = [True], []

    def extend(lease: Right, _progress: str | None) -> None:
        if away[0]:
            raise HarnessError("the database is away")
        beats.append(lease.job_id)

    heartbeats: Heartbeats[Right] = Heartbeats(3600.0, extend, lambda _: None)
    for name in ("first", "second"):
        heartbeats.add(Right(name))
        heartbeats._beats[name].due_s = 0.0
    heartbeats.send()
    away[0] = False
    heartbeats.send()
    assert beats == ["first", "second"]
    heartbeats.send()
    assert beats == ["first", "second"]


def test_a_database_that_is_away_is_asked_once_in_a_turn() -> None:
    """Each time may take until its time is up, and leases run out meanwhile."""
    asked = []

    def extend(lease: Right, _progress: str | None) -> None:
        asked.append(lease.job_id)
        raise HarnessError("the database is away")

    heartbeats: Heartbeats[Right] = Heartbeats(0.0, extend, lambda _: None)
    for name in ("first", "second"):
        heartbeats.add(Right(name))
    heartbeats.send()
    assert asked == ["first"]


def test_who_tells_everybody_learns_that_it_could_not_and_all_are_due_again() -> None:
    away, beats = [True], []

    def extend(lease: Right, _progress: str | None) -> None:
        if away[0] and lease.job_id == "second":
            raise HarnessError("the database is away")
        beats.append(lease.job_id)

    heartbeats: Heartbeats[Right] = Heartbeats(3600.0, extend, lambda _: None)
    for name in ("first", "second", "third"):
        heartbeats.add(Right(name))
    with pytest.raises(HarnessError, match="the database is away"):
        heartbeats.send(everybody=True)
    assert beats == ["first"]
    away[0] = False
    heartbeats.send()
    assert beats == ["first", "second", "third"]


class StuckThread:
    """Never ends; joining it takes all the time there is."""

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock

    def join(self, timeout_s: float) -> None:
        self._clock[0] += timeout_s

    @staticmethod
    def is_alive() -> bool:
        return True


def test_stopping_takes_as_long_as_it_may_for_all_threads_together(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    workers = Workers(0, lambda _: None, lambda _: True)
    monkeypatch.setattr(workers, "_threads", [StuckThread(clock) for _ in range(6)])
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    assert not workers.stop(5.0)
    assert clock == [105.0]


@pytest.mark.parametrize("alive", [(True, False), (False, True)])
def test_one_thread_that_has_not_ended_is_enough_not_to_have_stopped(
    monkeypatch: pytest.MonkeyPatch, alive: tuple[bool, bool]
) -> None:
    workers = Workers(0, lambda _: None, lambda _: True)
    threads = [SimpleNamespace(join=lambda _: None, is_alive=lambda one=one: one) for one in alive]
    monkeypatch.setattr(workers, "_threads", threads)
    assert not workers.stop(0.0)


def test_a_thread_rests_unless_it_was_woken_meanwhile_or_is_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would ask the database all the time, or sleep through the job that it was woken for."""
    workers = Workers(0, lambda _: None, lambda _: True)
    rests: list[float] = []
    monkeypatch.setattr(workers._changed, "wait", rests.append)
    workers._rest(workers._wakes)
    assert len(rests) == 1
    seen = workers._wakes
    workers.wake()
    workers._rest(seen)
    workers.stop(0.0)
    workers._rest(workers._wakes)
    assert len(rests) == 1


@pytest.mark.parametrize("error", [HarnessError("away"), OSError("away"), ValueError("a bug")])
def test_a_thread_pauses_after_a_fault(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Or what fails at once would fail thousands of times a second."""
    jobs: list[int] = []

    def work(job: int) -> bool:
        jobs.append(job)
        workers._stopping = len(jobs) == 2
        raise error

    def pause(pause_s: float | None = None) -> None:
        assert pause_s is None
        workers._stopping = True

    workers = Workers(1, lambda _: 1, work)
    monkeypatch.setattr(workers, "_pause", pause)
    workers.start()
    workers._threads[0].join(LIMIT_S)
    assert jobs == [1]


def test_an_outage_is_told_once_and_the_next_one_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(Workers, "_pause", lambda *_: None)
    monkeypatch.setattr(log, "story", lambda text, **_: told.append(text))
    outcomes = iter([HarnessError("away"), HarnessError("away"), 1, HarnessError("away"), 2])
    done = threading.Event()

    def take(_: frozenset[object]) -> int | None:
        outcome = next(outcomes, None)
        if isinstance(outcome, HarnessError):
            raise outcome
        return outcome

    def work(job: int) -> bool:
        if job == 2:
            done.set()
        return True

    workers = Workers(1, take, work)
    workers.start()
    assert done.wait(LIMIT_S)
    assert workers.stop(LIMIT_S)
    assert told == ["cannot take or finish a job now"] * 2


def test_a_lease_that_was_replaced_while_others_were_told_does_not_end_the_new_one() -> None:
    lost: list[Right] = []
    first, stale, fresh = Right("a"), Right("b"), Right("b")

    def extend(lease: Right, _progress: str | None) -> None:
        if lease is first:  # a slow round trip, in which the other job ends and begins anew
            heartbeats.remove("b")
            heartbeats.add(fresh)
        elif lease is stale:
            raise LostClaim("no longer counts")

    heartbeats: Heartbeats[Right] = Heartbeats(0.0, extend, lost.append)
    heartbeats.add(first)
    heartbeats.add(stale)
    heartbeats.send(everybody=True)
    assert lost == []
    assert any(lease is fresh for lease in heartbeats.leases)


def test_a_slot_is_not_rid_of_a_lost_lease_before_its_job_is_ended() -> None:
    """Or it has begun that job anew when it is."""
    is_rid, rid_too_soon = threading.Event(), list[bool]()

    def extend(_lease: Right, _progress: str | None) -> None:
        raise LostClaim("no longer counts")

    def end(lease: Right) -> None:
        slot.start()
        rid_too_soon.append(is_rid.wait(0.3))

    def go_on() -> None:
        heartbeats.remove("a")
        is_rid.set()

    slot = threading.Thread(target=go_on)
    heartbeats: Heartbeats[Right] = Heartbeats(0.0, extend, end)
    heartbeats.add(Right("a"))
    heartbeats.send(everybody=True)
    slot.join(LIMIT_S)
    assert rid_too_soon == [False]
    assert is_rid.is_set()
