"""A daemon that is frozen past its lease and thaws again: its job belongs to another by then."""

from __future__ import annotations

import signal

import pytest
from service_rehearsal import Place, on_both_databases
from waiting import wait_for

SHORT_LEASE = {"LEASE_S": "1.5"}  # for who is frozen: who takes over keeps its job also when it is slow

pytestmark = on_both_databases


# Whether the judgement is over at the thaw. One that is not is cancelled by the heartbeat after it; the publication of
# one that is races with the heartbeat and must be refused.
ENDS = {"cancelled by its heartbeat": False, "refused at publication": True}


@pytest.mark.parametrize("is_over", ENDS.values(), ids=ENDS.keys())
def test_a_thawed_daemon_publishes_nothing_stays_alive_and_goes_on(here: Place, *, is_over: bool) -> None:
    here.drop("taken-over")
    first = here.start(is_held=True, **SHORT_LEASE)
    wait_for(lambda: here.state("taken-over") == "running", "the first daemon to judge")
    here.freeze(first)
    second = here.start()
    wait_for(lambda: here.has_results("taken-over"), "the second daemon to publish")
    assert second.stop() == 0
    if is_over:
        here.let_go("taken-over")
    first.signal(signal.SIGCONT)
    wait_for(lambda: " lost " in first.story or " let go " in first.story, "the thawed daemon to notice")
    assert here.jobs()["taken-over"].attempts == 2
    here.drop("afterwards")
    here.let_go("afterwards")
    wait_for(lambda: here.has_results("afterwards"), "the thawed daemon to judge again")
    assert first.stop() == 0
    assert here.faults("taken-over", "afterwards") == []
    assert "verdict" not in "".join(line for line in first.story.splitlines() if "taken-over" in line)


def test_a_daemon_that_thaws_while_another_judges_its_job_does_not_disturb(here: Place) -> None:
    here.drop("contested")
    first = here.start(is_held=True, **SHORT_LEASE)
    wait_for(lambda: here.state("contested") == "running", "the first daemon to judge")
    here.freeze(first)
    here.start(is_held=True)
    wait_for(lambda: here.jobs()["contested"].attempts == 2 and here.state("contested") == "running", "the takeover")
    first.signal(signal.SIGCONT)
    wait_for(lambda: " lost " in first.story or " let go " in first.story, "the thawed daemon to notice")
    assert not here.has_results("contested")
    here.let_go("contested")
    wait_for(lambda: here.has_results("contested"), "the second daemon to publish")
    wait_for(lambda: here.faults("contested") == [], "everything put away")
    assert all(daemon.is_alive for daemon in here.started)
    assert here.jobs()["contested"].attempts == 2
