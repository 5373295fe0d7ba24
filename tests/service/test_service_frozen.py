"""A daemon that is frozen past its lease and thaws again: its job belongs to another by then."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from service_bundles import wait_for
from service_rehearsal import Place, place

SHORT_LEASE = {"LEASE_S": "1.5"}  # for who is frozen: who takes over keeps its job also when it is slow


@pytest.fixture(params=["sqlite", "postgres"])
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    url = None if request.param == "sqlite" else request.getfixturevalue("postgres").create_database()
    with place(tmp_path / "home", url) as found:
        yield found


# How long the frozen daemon judges, and stays frozen at least. A long judgement is cancelled by the heartbeat after the
# thaw; a short one is over at the thaw, so its publication races with the heartbeat and must be refused.
TIMES = {"cancelled by its heartbeat": (9.0, 0.0), "refused at publication": (4.0, 4.0)}


@pytest.mark.parametrize(("judging_s", "frozen_s"), TIMES.values(), ids=TIMES.keys())
def test_a_thawed_daemon_publishes_nothing_stays_alive_and_goes_on(
    here: Place, judging_s: float, frozen_s: float
) -> None:
    here.drop("taken-over")
    first = here.start(REHEARSAL_S=str(judging_s), **SHORT_LEASE)
    wait_for(lambda: here.state("taken-over") == "running", "the first daemon to judge")
    here.freeze(first)
    thaw = time.monotonic() + frozen_s
    second = here.start()
    wait_for(lambda: here.has_results("taken-over"), "the second daemon to publish")
    assert second.stop() == 0
    wait_for(lambda: time.monotonic() >= thaw, "the judgement to be over")
    first.signal(signal.SIGCONT)
    wait_for(lambda: " lost " in first.story or " let go " in first.story, "the thawed daemon to notice")
    assert here.jobs()["taken-over"].attempts == 2
    here.drop("afterwards")
    wait_for(lambda: here.has_results("afterwards"), "the thawed daemon to judge again")
    assert first.stop() == 0
    assert here.faults("taken-over", "afterwards") == []
    assert "verdict" not in "".join(line for line in first.story.splitlines() if "taken-over" in line)


def test_a_daemon_that_thaws_while_another_judges_its_job_does_not_disturb(here: Place) -> None:
    here.drop("contested")
    first = here.start(REHEARSAL_S="5", **SHORT_LEASE)
    wait_for(lambda: here.state("contested") == "running", "the first daemon to judge")
    here.freeze(first)
    here.start(REHEARSAL_S="10")
    wait_for(lambda: here.jobs()["contested"].attempts == 2 and here.state("contested") == "running", "the takeover")
    first.signal(signal.SIGCONT)
    wait_for(lambda: " lost " in first.story or " let go " in first.story, "the thawed daemon to notice")
    assert not here.has_results("contested")
    wait_for(lambda: here.has_results("contested"), "the second daemon to publish")
    wait_for(lambda: here.faults("contested") == [], "everything put away")
    assert all(daemon.is_alive for daemon in here.started)
    assert here.jobs()["contested"].attempts == 2
