"""Very many bundles at once: none missed, memory flat, the queue bounded, priorities honoured."""

from __future__ import annotations

import json
import os
import signal

import pytest
from service_rehearsal import FAST, SOURCE, Place
from waiting import wait_for

BATCH = 150  # bundles judged to the last one, half of them dropped while nobody was there
AHEAD = 16


def archived(here: Place) -> int:
    return len(list((here.home / "archive").glob("*")))


@pytest.mark.parametrize("waiting", [20_000, pytest.param(100_000, marks=pytest.mark.thorough)])
def test_very_many_bundles_at_once_are_claimed_a_few_at_a_time_in_flat_memory(here: Place, waiting: int) -> None:
    """Names in the inbox; only the first few are judged."""
    document = {"kernel": {"kernel_type": "torch", "source_code": SOURCE}}
    inbox, one = here.home / "inbox", here.home / "one"
    inbox.mkdir()
    daemon = here.start(CLAIM_AHEAD=str(AHEAD), REHEARSAL_S="0.01")
    wait_for(lambda: "watching" in daemon.story, "the daemon to watch")
    at_rest = daemon.peak_bytes
    for number in range(waiting):
        if number % 50_000 == 0:  # ext4 has at most 65,000 names for one file
            one.unlink(missing_ok=True)
            one.write_text(json.dumps(document), "utf-8")
        os.link(one, inbox / f"b{number}.json")
    try:
        wait_for(lambda: archived(here) >= 3 * AHEAD, "a few to be judged")
        assert daemon.peak_bytes < at_rest + waiting * 1500
        states = [str(job.state) for job in here.jobs().values()]
        assert states.count("queued") <= AHEAD
        daemon.signal(signal.SIGKILL)
        daemon.process.wait(120)
        places = ("inbox", "work", "archive", "rejected", "quarantine")
        assert sum(len(list((here.home / place).iterdir())) for place in places) == waiting
    finally:
        for number in range(waiting):
            (inbox / f"b{number}.json").unlink(missing_ok=True)


def test_none_of_a_batch_is_missed_half_of_it_dropped_while_the_daemon_was_down(here: Place) -> None:
    names = [f"b{number}" for number in range(BATCH)]
    settings = {"SLOTS": "4", "REHEARSAL_S": "0.01", "CLAIM_AHEAD": "32", "MAX_ATTEMPTS": "100"}
    first = here.start(**settings)
    here.drop(*names[: BATCH // 2])
    wait_for(lambda: archived(here) > 0, "the first result")
    first.signal(signal.SIGKILL)
    first.process.wait(120)
    here.drop(*names[BATCH // 2 :])
    second = here.start(**settings)
    wait_for(lambda: here.has_results(*names), "every result")
    wait_for(lambda: here.faults(*names) == [], "everything put away")
    assert second.stop() == 0


def test_a_bundle_of_high_priority_overtakes_those_that_wait(here: Place) -> None:
    names = [f"low{number}" for number in range(4)]
    daemon = here.start(is_held=True)
    drop(here, "first", 0)
    wait_for(lambda: here.state("first") == "running", "the first to be judged")
    for name, priority in (*((name, 0) for name in names), ("urgent", 9)):
        drop(here, name, priority)
    wait_for(lambda: len(here.jobs()) == 6, "all to be queued")
    here.let_go("first")
    wait_for(lambda: here.has_results("first"), "the first to be finished")
    wait_for(lambda: "running" in {str(job.state) for job in here.jobs().values()}, "the next to be judged")
    running = [job.name for job in here.jobs().values() if str(job.state) == "running"]
    daemon.signal(signal.SIGKILL)
    assert running == ["urgent"]


def drop(here: Place, name: str, priority: int) -> None:
    assert FAST["ENGINE"] == "rehearsal"
    document = {"name": name, "priority": priority, "kernel": {"kernel_type": "torch", "source_code": SOURCE}}
    outside, inbox = here.home / "outside", here.home / "inbox"
    for folder in (outside, inbox):
        folder.mkdir(exist_ok=True)
    (outside / name).write_text(json.dumps(document), "utf-8")
    (outside / name).rename(inbox / f"{name}.json")
