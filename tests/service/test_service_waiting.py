"""What the tests of daemons wait with: whoever waits in vain learns why, and soon."""

from __future__ import annotations

import pytest
from service_rehearsal import Place
from waiting import wait_for


def test_nobody_waits_for_a_daemon_that_has_failed(here: Place) -> None:
    here.start(SLOTS="none")
    with pytest.raises(AssertionError, match=r"waited for: a miracle, but .* exit code 2:\n[^\0]*EVALD_SLOTS"):
        wait_for(lambda: False, "a miracle")


def test_nor_for_one_whose_output_is_read(start) -> None:
    start("run", EVALD_SLOTS="none")
    with pytest.raises(AssertionError, match=r"exit code 2:\n[^\0]*EVALD_SLOTS"):
        wait_for(lambda: False, "a miracle")


def test_who_has_waited_in_vain_learns_what_the_daemon_says(here: Place) -> None:
    daemon = here.start()
    wait_for(lambda: " watching " in daemon.story, "it to start")
    with pytest.raises(AssertionError, match=r"waited 0 s in vain for: a miracle\n[^\0]*says:\n[^\0]* watching "):
        wait_for(lambda: False, "a miracle", limit_s=0)


def test_a_daemon_that_is_to_fail_fails_nobody(here: Place) -> None:
    daemon = here.start(SLOTS="none")
    wait_for(lambda: not daemon.is_alive, "it to end")
    asked = []
    wait_for(lambda: asked.append(True) or len(asked) > 2, "something else")
