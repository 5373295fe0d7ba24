"""Slots of unlike devices: who gets which, who waits, and what becomes of the sick ones."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from waiting import wait_for

from daemon.errors import HarnessError
from daemon.executor import roster
from daemon.executor.host.devices import CPU, Device
from daemon.executor.roster import Roster

SMALL = Device(kind="cuda", index=0, name="NVIDIA L4", uuid="GPU-a", memory_bytes=24 << 30, capability=(8, 9))
LARGE = replace(SMALL, index=1, name="NVIDIA H100", uuid="GPU-b", memory_bytes=80 << 30, capability=(9, 0))


def is_large(device: Device) -> bool:
    return device is LARGE


def anything(_: Device) -> bool:
    return True


def test_a_job_that_asks_for_one_gpu_never_gets_another() -> None:
    slots = Roster((SMALL, LARGE))
    assert slots.take(is_large) == 1
    assert slots.take(anything) == 0


def test_who_finds_the_suiting_gpu_at_work_waits_for_it_although_another_is_idle() -> None:
    slots = Roster((SMALL, LARGE))
    held = slots.take(is_large)
    got: list[int] = []
    waiter = threading.Thread(target=lambda: got.append(slots.take(is_large)))
    waiter.start()
    slots.give_back(slots.take(anything))
    assert got == []
    slots.give_back(held)
    waiter.join(120)
    assert got == [held]


def test_a_job_whose_only_suiting_gpu_is_sick_is_told_at_once_also_while_it_waits() -> None:
    slots = Roster((SMALL, LARGE))
    held = slots.take(is_large)
    said: list[str] = []

    def wait() -> None:
        with pytest.raises(HarnessError) as raised:
            slots.take(is_large)
        said.append(str(raised.value))

    waiter = threading.Thread(target=wait)
    waiter.start()
    slots.set_aside(held, "fell off the bus")
    waiter.join(120)
    assert "NVIDIA H100: fell off the bus" in said[0]
    assert [state.reason for state in slots.states()] == [None, "fell off the bus"]


def test_the_slot_given_back_last_is_taken_first() -> None:
    slots = Roster((CPU, CPU, CPU))
    taken = [slots.take(anything) for _ in range(3)]
    assert taken == [0, 1, 2]
    slots.give_back(1)
    slots.give_back(0)
    assert slots.take_idle() == 0
    assert slots.take_idle() == 1
    assert slots.take_idle() is None


def test_a_sick_slot_comes_back_when_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    slots = Roster((SMALL,))
    slots.set_aside(slots.take(anything), "no driver")
    slots.revive()
    with pytest.raises(HarnessError, match="NVIDIA L4: no driver"):
        slots.take_idle()
    late_s = roster.time.monotonic() + 61
    monkeypatch.setattr(roster.time, "monotonic", lambda: late_s)
    slots.revive()
    assert slots.take_idle() == 0


def test_who_came_first_is_served_first_also_when_both_ask_for_the_same() -> None:
    slots = Roster((SMALL, LARGE))
    held = [slots.take(anything), slots.take(anything)]
    got: list[tuple[str, int]] = []

    def wait(name: str) -> None:
        got.append((name, slots.take(is_large)))

    waiters = []
    for count, name in enumerate(("first", "second"), start=1):
        waiters.append(threading.Thread(target=wait, args=(name,)))
        waiters[-1].start()
        wait_for(lambda count=count: len(slots._queue) >= count, f"{name} to wait")
    slots.give_back(held[0])
    slots.give_back(1)
    waiters[0].join(120)
    assert got == [("first", 1)]
    slots.give_back(1)
    waiters[1].join(120)
    assert got == [("first", 1), ("second", 1)]


def test_who_waits_for_a_gpu_at_work_does_not_keep_others_from_an_idle_one() -> None:
    slots = Roster((SMALL, LARGE))
    held = slots.take(is_large)
    waiter = threading.Thread(target=lambda: slots.give_back(slots.take(is_large)))
    waiter.start()
    wait_for(lambda: slots._queue, "somebody to wait")
    assert slots.take(anything) == 0
    slots.give_back(held)
    waiter.join(120)


def test_what_is_raised_while_waiting_ends_the_wait_and_the_place_in_the_queue() -> None:
    slots = Roster((SMALL,))
    held = slots.take(anything)

    def given_up() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        slots.take(anything, given_up)
    assert slots._queue == []
    slots.give_back(held)
    assert slots.take(anything) == held
