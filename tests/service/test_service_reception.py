"""The reception claims from what one look found, not by one look for each bundle."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daemon import log, reception
from daemon.callers import tag_of
from daemon.config import Settings
from daemon.db.errors import StorageRefused, StorageUnavailable
from daemon.disks import Disks
from daemon.errors import HarnessError, LostClaim
from daemon.http.tokens import Role, Tokens
from daemon.intake.fairness import FairQueue
from daemon.intake.readiness import Readiness, Seen
from daemon.reception import Doorbell, Reception

WAITING, AHEAD = 60, 10
CONTRACT = json.dumps({"kernel": {"kernel_type": "torch", "source_code": "class Model: pass"}})


class Room:
    """An inbox, its reception, and everybody whom that needs: what was claimed is gone from the inbox."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        given = {"claim_ahead": AHEAD, "quiet_s": 0.001, "min_free_bytes": 1} | settings
        self.settings = Settings(home=home, **given)
        self.settings.paths.create()
        self.inbox = self.settings.paths.inbox
        self.claimed: list[str] = []
        self.anew: list[str] = []
        self.looks = 0
        self.queued = 0
        bell = Doorbell(lambda _name: None, lambda _claimed: None, lambda _finished: None)
        here: Any = self
        self.disks = Disks(self.settings)
        self.postponed = 0
        self.reception = Reception(self.settings, here, here, "me-boot-1", bell, postponed=lambda: self.postponed)
        scan = Readiness._scan

        def counted(readiness: Readiness, now_s: float) -> list[str]:
            self.looks += 1
            return scan(readiness, now_s)

        monkeypatch.setattr(Readiness, "_scan", counted)

    def waiting_for(self, _owner: str, *, at_most: int) -> int:
        """As the history: nothing is queued unless a test says so."""
        return min(self.queued, at_most)

    def take_in(self, name: str, *, came_later: bool = False) -> str:
        """As the clerk."""
        self.anew += [name] if came_later else []
        try:
            (self.inbox / name).unlink()
        except FileNotFoundError as error:
            raise LostClaim(name) from error
        self.claimed.append(name)
        return name

    def drop(self, name: str) -> None:
        outside = self.inbox.parent / "outside"
        outside.mkdir(exist_ok=True)
        (outside / name).write_text(CONTRACT)
        (outside / name).rename(self.inbox / name)

    def turn(self, *moved_in: str, now_s: float = 1000.0) -> int:
        return self.reception.turn(frozenset(moved_in), now_s, may_claim=True)


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    return Room(tmp_path / "home", monkeypatch)


def full(room: Room) -> list[str]:
    names = [f"{number:02}.json" for number in range(WAITING)]
    for name in names:
        room.drop(name)
    room.turn(*names)
    return names


def test_a_long_inbox_is_claimed_from_one_look(room: Room) -> None:
    full(room)
    left = [room.turn() for _ in range(WAITING // AHEAD - 1)]
    assert room.looks == 1
    assert left == [40, 30, 20, 10, 0]
    assert sorted(set(room.claimed)) == sorted(room.claimed)
    assert len(room.claimed) == WAITING
    room.turn()
    assert room.looks == 2, "the line is empty: time to look"


def test_the_inbox_is_looked_at_again_after_a_while_also_when_there_is_a_line(room: Room) -> None:
    full(room)
    room.queued = AHEAD
    assert room.turn() == WAITING - AHEAD
    room.drop("late.json")
    assert room.turn(now_s=2000.0) == WAITING - AHEAD + 1
    assert room.looks == 2


def test_a_look_that_took_ten_minutes_puts_off_the_next_by_one(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file server hung in the middle of it: what has come in place since then is not seen before."""
    clock = iter([1000.0, 1600.0, 1661.0, 1661.0])
    monkeypatch.setattr(reception, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    full(room)
    room.queued = AHEAD
    room.turn(now_s=1659.0)
    assert room.looks == 1
    room.turn(now_s=1661.0)
    assert room.looks == 2


def test_what_arrives_meanwhile_joins_the_line_at_once(room: Room) -> None:
    full(room)
    room.drop("late.json")
    assert room.turn("late.json") == WAITING + 1 - 2 * AHEAD
    while len(room.claimed) < WAITING + 1:
        room.turn()
    assert room.claimed[-1] == "late.json"
    assert room.looks == 1


def test_a_name_that_stands_for_another_entry_by_now_is_not_claimed(room: Room) -> None:
    names = full(room)
    last = room.inbox / names[-1]
    last.rename(room.inbox.parent / "kept")
    last.write_text("{")  # somebody writes another one in place
    while room.looks == 1:
        room.turn()
    assert names[-1] not in room.claimed
    assert len(room.claimed) == WAITING - 1


def test_an_entry_that_is_rewritten_while_it_stands_in_the_line_is_claimed_when_it_is_whole_again(room: Room) -> None:
    names = full(room)
    last = room.inbox / names[-1]
    last.write_text(CONTRACT[:20])
    while room.looks == 1:
        room.turn()
    assert names[-1] not in room.claimed
    last.write_text(CONTRACT + " ")
    now_s = 1000.0
    while names[-1] not in room.claimed:
        now_s += 1
        assert room.turn(now_s=now_s) <= 1
        assert room.looks < 10
    assert len(room.claimed) == WAITING


def test_an_entry_that_somebody_else_took_is_passed_over(room: Room) -> None:
    names = full(room)
    for name in names[AHEAD : AHEAD + 5]:
        (room.inbox / name).unlink()
    room.turn()
    assert len(room.claimed) == 2 * AHEAD, "its place is given to the next"


def test_an_entry_whose_claim_meets_a_bug_keeps_nobody_else_waiting(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_in = room.take_in

    def failing(name: str, **how: bool) -> str:
        if name == "00.json":
            raise UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")
        return take_in(name, **how)

    monkeypatch.setattr(room, "take_in", failing)
    names = full(room)
    while len(room.claimed) < WAITING - 1:
        room.turn()
    assert set(room.claimed) == set(names[1:])
    monkeypatch.undo()
    room.turn("00.json")
    assert "00.json" in room.claimed, "it is tried again"


@pytest.mark.parametrize("fault", [StorageUnavailable, StorageRefused])
def test_a_database_that_is_away_or_refuses_is_not_a_fault_of_the_entry(
    room: Room, monkeypatch: pytest.MonkeyPatch, fault: type[HarnessError]
) -> None:
    """Nor is the next one taken: it would be claimed, and not queued either."""
    asked: list[str] = []

    def failing(name: str, **_how: bool) -> str:
        asked.append(name)
        raise fault("no")

    monkeypatch.setattr(room, "take_in", failing)
    room.drop("a.json")
    room.drop("b.json")
    with pytest.raises(fault):
        room.turn("a.json", "b.json")
    assert len(asked) == 1


def test_a_full_queue_costs_no_look(room: Room) -> None:
    full(room)
    room.queued = AHEAD
    for _ in range(5):
        room.turn()
    assert (room.looks, len(room.claimed)) == (1, AHEAD)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"f_bavail": 10}, "has 0 MiB free, 1 are wanted"),
        ({"f_favail": 3}, "has room for 3 more files"),
        ({"f_favail": 0, "f_files": 0}, None),
        ({"f_flag": os.ST_RDONLY}, "is read-only"),
    ],
    ids=["room", "no bytes", "no files", "counts no files", "read-only"],
)
def test_nothing_is_begun_where_a_disk_has_no_room(
    tmp_path: Path, changes: dict[str, int], words: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"f_bavail": 1000, "f_frsize": 4096, "f_files": 10**6, "f_favail": 10**5, "f_flag": 0} | changes
    told: list[str] = []
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**disk))
    monkeypatch.setattr(log.Complaint, "say", lambda _, text: told.append(text))
    room = Room(tmp_path, monkeypatch, min_free_bytes=1 << 20)
    assert room.reception.is_open() == (words is None)
    assert all((words or "") in text for text in told)
    assert bool(told) == (words is not None)


def test_jobs_that_are_postponed_take_nobodys_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as are claimed ahead wait for a device that is set aside: others are claimed all the same."""
    crowded = Room(tmp_path, monkeypatch)
    crowded.queued = AHEAD
    full(crowded)
    crowded.turn()
    assert crowded.claimed == []
    crowded.postponed = AHEAD
    crowded.turn()
    assert len(crowded.claimed) == AHEAD


def test_submitters_take_turns_from_one_turn_to_the_next(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is mostly room for one: whoever was served last comes last then too, also after another look."""
    seen = Readiness.look

    def owned(readiness: Readiness, moved_in: frozenset[str], now_s: float) -> list[Seen]:
        found = seen(readiness, moved_in, now_s)
        return [replace(one, submitter_uid=int(one.name[0]), since_ns=names.index(one.name) + 1) for one in found]

    monkeypatch.setattr(Readiness, "look", owned)
    names = [f"{name}.json" for name in ("1a", "1b", "1c", "1d", "2a", "2b")]
    for name in names:
        room.drop(name)
    room.queued = AHEAD - 1
    for number in range(20):
        room.turn(*names, now_s=1000.0 + 100 * number)
    assert [name[0] for name in room.claimed] == ["1", "2", "1", "2", "1", "1"]


@pytest.mark.parametrize("seen", ["by one look", "one after the other"])
def test_who_has_a_token_takes_turns_with_others_who_have(room: Room, seen: str) -> None:
    for name in ("anna", "bert"):
        Tokens.of(room.settings).add(name, Role.SUBMIT)
    tagged = [("a", "anna"), ("a", "anna"), ("a", "anna"), ("b", "bert")]
    names = [f"{letter}{number}.json@{number:024x}{tag_of(name)}" for number, (letter, name) in enumerate(tagged)]
    room.queued = AHEAD
    for name in names:
        room.drop(name)
        if seen == "one after the other":
            room.turn(name)
    room.turn(*names)
    room.queued = 0
    room.turn()
    assert [name[:2] for name in room.claimed] == ["a0", "b3", "a1", "a2"]


@pytest.mark.parametrize("seen", ["by one look", "one after the other"])
def test_of_two_entries_with_one_job_id_the_first_keeps_it_whoever_is_claimed_first(
    room: Room, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    """Everybody who may drop bundles sees the ids of others in the inbox, and may be the next whose turn it is."""

    def last_first(line: FairQueue) -> Iterator[Seen]:
        entries = [entry for waiting in line._by_sender.values() for entry in waiting]
        line._by_sender.clear()
        return reversed(entries)

    monkeypatch.setattr(FairQueue, "take", last_first)
    first, second = f"vec_add.json@{'a' * 32}", f"another.json@{'a' * 32}"
    room.queued = AHEAD
    room.drop(first)
    if seen == "one after the other":
        room.turn(first)
    room.drop(second)
    room.turn(first, second)
    room.queued = 0
    room.turn()
    assert room.claimed == [second, first]
    assert room.anew == [second]
