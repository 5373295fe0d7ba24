"""Submitters take turns, and have a quota."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.callers import Callers, tag_of
from daemon.intake.fairness import FairQueue, within_quota
from daemon.intake.readiness import EntryState, Readiness, Seen
from daemon.scheduler.turns import Turns


def seen(name: str, uid: int | None, caller: str = "") -> Seen:
    return Seen(name, EntryState.READY, "", uid, caller=caller)


senders = st.tuples(st.sampled_from([None, 0, 1000, 1001]), st.sampled_from(["", "a" * 8, "b" * 8]))
entries = st.lists(senders, max_size=30).map(
    lambda found: [seen(f"b{number}", *sender) for number, sender in enumerate(found)]
)


def test_one_who_drops_many_does_not_hold_up_one_who_drops_few() -> None:
    given_ = [seen(f"a{i}", 1) for i in range(5)] + [seen("b0", 2), seen("b1", 2), seen("c0", 3)]
    assert [entry.name for entry in FairQueue(given_).take()] == ["a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"]


@pytest.mark.parametrize(
    ("is_of_server", "order"),
    [(True, ["a0", "b0", "c0", "a1", "d0", "a2", "a3"]), (False, ["a0", "a1", "a2", "a3", "b0", "c0", "d0"])],
)
def test_one_who_sends_many_over_http_does_not_hold_up_another(
    tmp_path: Path, is_of_server: bool, order: list[str]
) -> None:
    """To the file system all of them are one user. A tag that is nobody's is none, nor is one of another user's."""
    known = Callers({tag_of(name): name for name in ("anna", "bert")}, tmp_path.stat().st_uid + (not is_of_server))
    names = [f"a{number}.json@{number:024x}{tag_of('anna')}" for number in range(4)]
    names += [f"b0.json@{7:024x}{tag_of('bert')}", f"c0.json@{8:024x}{tag_of('nobody')}", "d0.json"]
    readiness = Readiness(tmp_path, quiet_s=0.0, torn_after_s=100, callers=lambda: known)
    for name in names:
        (tmp_path / name).write_text('{"kernel": {}}')
        await_tick(tmp_path / name)
    line = FairQueue(readiness.look(names, time.monotonic()))
    assert [entry.name.split(".")[0] for entry in line.take()] == order


@given(entries)
def test_turns_lose_and_double_nothing_and_keep_everybodys_own_order(found: list[Seen]) -> None:
    ordered = list(FairQueue(found).take())
    assert Counter(ordered) == Counter(found)
    for sender in {entry.sender for entry in found}:
        own = [entry for entry in found if entry.sender == sender]
        assert [entry for entry in ordered if entry.sender == sender] == own


def await_tick(path: Path) -> None:
    """Until what is written is later than `path`: the file system's clock ticks every few milliseconds."""
    probe = path.parent.with_name("probe")
    probe.write_text("")
    while probe.stat().st_ctime_ns <= path.stat().st_ctime_ns:
        time.sleep(0.001)
        probe.write_text("x")


def test_everybodys_own_come_in_the_order_in_which_they_came(tmp_path: Path) -> None:
    """Whatever order a listing has them in; what comes later stands behind them."""
    names = [f"{number:02}.json" for number in (7, 3, 11, 0, 5, 9, 1)]
    readiness = Readiness(tmp_path, quiet_s=0.0, torn_after_s=100)
    for name in names:
        (tmp_path / name).write_text('{"kernel": {}}')
        await_tick(tmp_path / name)
    line = FairQueue(readiness.look(names, time.monotonic()))
    for name in ("06.json", "02.json"):
        (tmp_path / name).write_text('{"kernel": {}}')
        await_tick(tmp_path / name)
    line.add(entry for name in ("02.json", "06.json") if (entry := readiness.arrived(name, time.monotonic())))
    assert [entry.name for entry in line.take()] == [*names, "06.json", "02.json"]


def test_an_entry_from_the_future_and_one_that_is_touched_keep_their_place(tmp_path: Path) -> None:
    readiness = Readiness(tmp_path, quiet_s=0.0, torn_after_s=100)
    (tmp_path / "first.json").write_text('{"kernel": {}}')
    before = time.time_ns()
    [first] = readiness.look(["first.json"], 1000.0)
    (tmp_path / "first.json").chmod(0o600)
    [again] = readiness.look([], 2000.0)
    assert again.since_ns == first.since_ns <= max(before, first.since_ns)
    assert first.since_ns <= time.time_ns()


@given(entries, st.integers(1, 5))
def test_nobody_gets_more_than_the_quota_and_nobody_less_than_there_is(found: list[Seen], quota: int) -> None:
    on_the_way = {(1000, ""): 2, (1000, "a" * 8): 3}
    taken = Counter(entry.sender for entry in within_quota(found, on_the_way, quota))
    for sender, count in Counter(entry.sender for entry in found).items():
        assert taken[sender] == min(count, max(0, quota - on_the_way.get(sender, 0)))


def test_without_a_quota_everything_may_be_claimed() -> None:
    found = [seen(f"a{i}", 1) for i in range(100)]
    assert list(within_quota(found, {(1, ""): 1000}, None)) == found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_scan_knows_whose_an_entry_is_however_it_came(tmp_path: Path) -> None:
    for name, uid in (("moved.json", 4001), ("written.json", 4002)):
        (tmp_path / name).write_text("{}")
        os.chown(tmp_path / name, uid, uid)
    readiness = Readiness(tmp_path, quiet_s=0.01, torn_after_s=100)
    found = {entry.name: entry.submitter_uid for entry in readiness.look({"moved.json"}, time.monotonic())}
    assert found == {"moved.json": 4001, "written.json": 4002}


def test_who_was_served_last_comes_last() -> None:
    turns = Turns()
    assert turns.order == ()
    for uid in (1, 2, 3, 1):
        turns.served((uid, ""))
    turns.served((None, ""))
    assert turns.order == ((2, ""), (3, ""), (1, ""))


def test_turns_remember_no_more_than_they_need() -> None:
    turns = Turns()
    for uid in range(1000):
        turns.served((uid, ""))
    assert len(turns.order) <= 64
    assert turns.order[-1] == (999, "")
