"""Bundles that no device of a host can serve: they wait, say why, stand in nobody's way, and go to a host that can.

The daemons rehearse; with `device = "cpu"` one plays a host without a GPU.
"""

from __future__ import annotations

import json
import signal
from typing import Any

from service_rehearsal import Place, on_both_if_thorough
from waiting import wait_for

NEEDS_GPU = {"requires": {"gpu": "H200"}}
NO_GPU = {"DEVICE": "cpu"}
WHY = "it requires a GPU (H200)"

pytestmark = on_both_if_thorough


def status(here: Place, *wanted: str) -> dict[str, Any]:
    done = here.ask("status", *wanted, "--json")
    return json.loads(done.stdout) if done.returncode == 0 else {}


def waiting(here: Place) -> set[str]:
    """Names of the jobs that wait for a device."""
    return {one["name"] for one in status(here).get("deferrals", ())}


def inbox(here: Place) -> list[str]:
    return sorted(entry.name.partition("@")[0] for entry in (here.home / "inbox").iterdir())


def test_a_bundle_that_requires_a_gpu_waits_says_why_and_is_judged_by_the_host_that_has_one(here: Place) -> None:
    here.drop("picky", **NEEDS_GPU)
    without = here.start(**NO_GPU)
    wait_for(lambda: waiting(here) == {"picky"}, "the job to be deferred")
    assert (here.state("picky"), here.jobs()["picky"].attempts) == ("queued", 0)
    assert WHY in here.evald("status").stdout
    assert WHY in here.evald("status", "picky").stdout
    assert WHY in without.story
    here.drop("plain")
    wait_for(lambda: here.has_results("plain"), "the bundle behind it to be judged")
    assert here.state("picky") == "queued"
    equipped = here.start()
    wait_for(lambda: here.has_results("picky"), "the other host to judge it")
    assert {name: job.attempts for name, job in here.jobs().items()} == {"picky": 1, "plain": 1}
    assert waiting(here) == set()
    assert [without.stop(), equipped.stop()] == [0, 0]
    assert without.story.count("waits for another host") == 1
    assert here.faults("picky", "plain") == []


def test_bundles_that_wait_for_a_device_take_no_place_from_those_behind_them(here: Place) -> None:
    picky = [f"picky{number}" for number in range(6)]
    here.drop(*picky, **NEEDS_GPU, priority=10)
    daemon = here.start(**NO_GPU, CLAIM_AHEAD="2", SLOTS="2")
    wait_for(lambda: waiting(here) == set(picky), "all of them to be claimed and deferred")
    here.drop("plain0", "plain1", "plain2")
    wait_for(lambda: here.has_results("plain0", "plain1", "plain2"), "those behind them to be judged")
    assert daemon.stop() == 0
    assert inbox(here) == [f"{name}.json" for name in picky]


def test_a_sweep_ends_when_only_bundles_for_other_hosts_are_left_and_gives_them_back(here: Place) -> None:
    here.drop("picky", **NEEDS_GPU)
    here.drop("plain")
    for _ in range(2):
        done = here.evald("sweep", "--json", **NO_GPU)
        assert [(one["name"], WHY in one["reason"]) for one in json.loads(done.stdout)["waiting"]] == [("picky", True)]
        assert inbox(here) == ["picky.json"]
    assert done.returncode == 0, "waiting is no failure"
    assert {name: str(job.state) for name, job in here.jobs().items()} == {"picky": "withdrawn", "plain": "finished"}
    (entry,) = status(here)["inbox"]["entries"]
    assert WHY in entry["reason"]
    assert WHY in here.evald("status", "picky").stdout
    done = here.evald("sweep", "--json")
    assert [job["name"] for job in json.loads(done.stdout)["jobs"]] == ["picky"]
    assert here.faults("picky", "plain") == []


def test_a_restarted_daemon_looks_again(here: Place) -> None:
    here.drop("picky", **NEEDS_GPU)
    first = here.start(**NO_GPU)
    wait_for(lambda: waiting(here) == {"picky"}, "the job to be deferred")
    first.signal(signal.SIGKILL)
    first.process.wait(120)
    equipped = here.start()
    wait_for(lambda: here.has_results("picky"), "the next daemon of the same host to judge it")
    assert equipped.stop() == 0
    assert here.faults("picky") == []


def test_a_daemon_killed_right_after_it_deferred_loses_nothing(here: Place) -> None:
    here.drop("picky", **NEEDS_GPU)
    doomed = here.start(**NO_GPU, TEST_FAILPOINTS="run.deferred=1")
    assert doomed.process.wait(300) == -signal.SIGKILL
    again = here.start(**NO_GPU)
    wait_for(
        lambda: len(status(here).get("deferrals", [])) == 1 and WHY in again.story, "the next daemon to look at it"
    )
    assert here.jobs()["picky"].attempts == 0
    equipped = here.start()
    wait_for(lambda: here.has_results("picky"), "a host that can judge it")
    assert [again.stop(), equipped.stop()] == [0, 0]
    assert here.faults("picky") == []


def test_status_shows_that_a_host_only_rehearses(here: Place) -> None:
    daemon = here.start(SLOTS="2")
    wait_for(lambda: len(status(here).get("daemons", ())) == 1, "the daemon in status")
    (told,) = status(here)["daemons"]
    assert [(device["slot"], device["kind"], device["name"]) for device in told["devices"]] == [
        (0, "none", "rehearsal"),
        (1, "none", "rehearsal"),
    ]
    assert "rehearsal" in here.evald("status").stdout
    assert daemon.stop() == 0
