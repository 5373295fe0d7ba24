"""One place for many: submitters take turns, a quota holds, a pause file stops everything and loses nothing."""

from __future__ import annotations

import os

import pytest
from service_rehearsal import Place
from waiting import wait_for


def give(here: Place, uid: int, *names: str) -> None:
    for name in names:
        os.chown(here.home / "inbox" / f"{name}.json", uid, uid)


def finished(here: Place) -> list[str]:
    """Names in the order they ended."""
    jobs = [job for job in here.jobs().values() if job.finished_at is not None]
    return [job.name for job in sorted(jobs, key=lambda job: (job.finished_at, job.job_id))]  # type: ignore[arg-type,return-value]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_one_who_dropped_many_first_does_not_hold_up_one_who_dropped_few(here: Place) -> None:
    many, few = [f"many{number}" for number in range(8)], ["few0", "few1"]
    here.drop(*many)
    give(here, 4001, *many)
    here.drop(*few)
    give(here, 4002, *few)
    assert here.evald("sweep").returncode in (0, 2)
    assert sorted(finished(here)) == sorted(many + few)
    taken = [(job.claimed_at, job.name) for job in here.jobs().values() if job.claimed_at is not None]
    order = [name for _, name in sorted(taken)]  # they may end in another one: several are judged at a time
    assert max(order.index(name) for name in few) <= 4, order


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_is_above_a_submitters_quota_stays_in_the_inbox_until_there_is_room(here: Place) -> None:
    names = [f"b{number}" for number in range(5)]
    here.drop(*names)
    give(here, 4001, *names)
    here.drop("other")
    give(here, 4002, "other")
    here.start(SUBMITTER_QUOTA="2", is_held=True)
    wait_for(lambda: len(here.jobs()) == 3, "two bundles of one submitter and one of the other to be claimed")
    left = sorted(path.stem for path in (here.home / "inbox").glob("*.json"))
    assert len(left) == 3
    assert set(left) < set(names)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_sweep_under_a_quota_still_judges_everything(here: Place) -> None:
    names = [f"b{number}" for number in range(5)]
    here.drop(*names)
    give(here, 4001, *names)
    assert here.evald("sweep", SUBMITTER_QUOTA="1", REHEARSAL_S="0.01").returncode in (0, 2)
    assert sorted(finished(here)) == names


def test_nothing_is_claimed_while_the_pause_file_lies_there_and_all_of_it_afterwards(here: Place) -> None:
    (here.home / "pause").write_text("GPU maintenance\nuntil noon\n")
    daemon = here.start()
    here.drop("one", "two")
    wait_for(lambda: "GPU maintenance" in daemon.log.read_text(), "the daemon to say that it is paused")
    seen = here.evald("status").stdout
    assert "GPU maintenance" in seen
    assert "until noon" not in seen
    assert here.jobs() == {}
    assert len(list((here.home / "inbox").glob("*.json"))) == 2
    (here.home / "pause").unlink()
    wait_for(lambda: len(finished(here)) == 2, "both to be judged")


def test_what_runs_when_a_pause_begins_is_finished_and_what_is_queued_waits(here: Place) -> None:
    here.start(is_held=True)
    here.drop("first", "second")
    wait_for(lambda: "running" in {job.state.value for job in here.jobs().values()}, "one to run")
    (here.home / "pause").touch()
    here.let_go("first", "second")
    wait_for(lambda: len(finished(here)) == 1, "the running one to end")
    assert sorted(job.state.value for job in here.jobs().values()) == ["finished", "queued"]
    (here.home / "pause").unlink()
    wait_for(lambda: len(finished(here)) == 2, "the other one")


def test_status_watch_shows_it_again_and_again_until_it_is_stopped(here: Place) -> None:
    here.drop("waits")
    here.evald("sweep")
    watching = here.start("status --watch --every 0.1")
    wait_for(lambda: watching.log.read_text().count("1 finished") >= 3, "three pictures")
    watching.process.send_signal(2)
    assert watching.process.wait(300) == 130
