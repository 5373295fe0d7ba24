"""Whose job a bundle is, where a sender chose its id: one that was dropped again, two of one id, another sender's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from service_bundles import write_bundle
from service_home import DEAD, JOB, PASSED, Home, home_in, needs_root

from daemon.claims import is_its_own, new_job
from daemon.db.history import History
from daemon.db.records import Whereabouts
from daemon.evaluation import Evaluation
from daemon.intake.names import fit
from daemon.intake.owner import Owner, WorkName
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Unended
from daemon.lifecycle import JobState
from daemon.verdict import Verdict


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home") as made:
        yield made


def test_a_job_whose_bundle_is_in_the_inbox_again_is_let_go_and_nobody_is_blamed(home: Home) -> None:
    me = Owner.current()
    claimed = home.claim(f"back@{JOB}", me)
    lease = home.lease(claimed, me)
    claimed.path.rename(home.settings.paths.inbox / f"back@{JOB}")
    clerk = home.clerk(me)
    assert clerk.judge(lease, lambda _: None) is Unended.LOST
    job = home.history.job(JOB)
    assert (job.state, job.attempts) == (JobState.WITHDRAWN, 0)
    clerk.take_in(f"back@{JOB}")
    assert home.history.job(JOB).state is JobState.QUEUED


@pytest.mark.parametrize("end", ["finished", "broken"])
def test_a_bundle_that_is_dropped_again_under_the_id_of_a_job_that_has_ended_is_another_job(
    home: Home, end: str
) -> None:
    me = Owner.current()
    clerk = home.clerk(me)
    lease = home.lease(home.claim(f"again@{JOB}", me), me)
    if end == "finished":
        clerk.publisher.publish(lease, PASSED, None)
        clerk.publisher.put_away(JOB, lease.work_name, Verdict.PASSED, "")
        [archived] = home.settings.paths.archive.iterdir()
        archived.rename(home.settings.paths.inbox / archived.name)
    else:
        home.repository.max_attempts = 1
        home.repository.retry(lease, "it always dies")
        [held] = home.settings.paths.work.iterdir()
        held.rename(home.settings.paths.inbox / f"again@{JOB}")
    claimed = clerk.take_in(f"again@{JOB}")
    assert claimed.job_id != JOB
    assert home.history.job(claimed.job_id).state is JobState.QUEUED
    home.reconcile()
    assert home.entries("work") == [claimed.path.name]


def test_two_bundles_that_two_daemons_claim_under_one_id_are_both_judged(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the same moment; on NFS neither may see for a while what the other has claimed."""
    me = Owner.current()
    other = Owner("elsewhere", me.boot_id, 1)
    write_bundle(home.settings.paths.inbox / f"first@{JOB}")
    write_bundle(home.settings.paths.inbox / f"second@{JOB}")
    monkeypatch.setattr(Spool, "_holds", lambda spool, job_id: False)
    first, second = home.clerk(me).take_in(f"first@{JOB}"), home.clerk(other).take_in(f"second@{JOB}")
    assert (first.job_id, second.job_id == JOB) == (JOB, False)
    assert {job.name for job in home.history.jobs().jobs if job.state is JobState.QUEUED} == {"first", "second"}


@pytest.mark.parametrize("end", ["finished", "queued"])
def test_a_second_bundle_of_one_id_whose_daemon_died_before_it_was_queued_is_another_job(home: Home, end: str) -> None:
    me = Owner.current()
    clerk = home.clerk(me)
    first = home.claim(f"first@{JOB}", me)
    write_bundle(home.settings.paths.inbox / f"second@{JOB}")
    (home.settings.paths.inbox / f"second@{JOB}").rename(
        home.settings.paths.work / WorkName("second", own_id=True, owner=DEAD, job_id=JOB).text
    )
    lease = home.lease(first, me)
    if end == "finished":
        clerk.publisher.publish(lease, PASSED, None)
        clerk.publisher.put_away(JOB, lease.work_name, Verdict.PASSED, "")
        assert home.entries("archive") == [f"first@{JOB}"]
    else:
        assert [one.name for one in clerk.publisher.claims.own(JOB, lease.work_name)] == ["first"]
    assert home.reconcile().registered == 1
    assert {job.name: job.state for job in home.history.jobs().jobs}["second"] is JobState.QUEUED
    assert home.reconcile().total == 0


@pytest.mark.parametrize("verdict", [Verdict.PASSED, Verdict.REJECTED])
def test_a_bundle_whose_daemon_died_when_it_was_claimed_again_under_the_same_name_is_another_job(
    home: Home, verdict: Verdict
) -> None:
    """Its job ended between the question for that id and the rename: the name in `work/` came twice."""
    clerk = home.clerk(DEAD)
    lease = home.lease(home.claim(f"again@{JOB}", DEAD))
    clerk.publisher.publish(lease, PASSED.model_copy(update={"verdict": verdict}), None)
    clerk.publisher.put_away(JOB, lease.work_name, verdict, "no")
    write_bundle(home.settings.paths.work / str(lease.work_name))
    assert home.reconcile().registered == 1
    [queued] = home.history.jobs(state=JobState.QUEUED).jobs
    assert (queued.name, queued.job_id == JOB) == ("again", False)
    assert home.reconcile().total == 0


def test_a_judged_bundle_whose_reason_alone_was_written_is_put_away(home: Home) -> None:
    lease = home.lease(home.claim(f"again@{JOB}", DEAD))
    home.clerk(DEAD).publisher.publish(lease, Evaluation.rejected("no"), None)
    begun = home.settings.paths.rejected / f"again@{JOB}"
    begun.mkdir()
    (begun / "reason.txt").write_text("no\n", "utf-8")
    assert home.reconcile().put_away == 1
    assert home.entries("work") == []
    assert sorted(entry.name for entry in begun.iterdir()) == ["again", "reason.txt"]


def test_a_bundle_that_never_becomes_complete_does_not_end_the_job_whose_id_it_has(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Owner.current()
    home.clerk(me).register(home.claim(f"first@{JOB}", me))
    write_bundle(home.settings.paths.inbox / f"torn@{JOB}")
    monkeypatch.setattr(Spool, "_holds", lambda spool, job_id: False)
    assert home.clerk(me).publisher.refuse(f"torn@{JOB}", "it waits for its contract.json") is None
    assert home.history.job(JOB).state is JobState.QUEUED
    home.reconcile()
    assert {job.name for job in home.history.jobs().jobs if job.state is JobState.QUEUED} == {"first", "torn"}


def test_a_bundle_that_is_claimed_again_in_the_moment_in_which_its_job_ends_is_another_job(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Owner.current()
    clerk = home.clerk(me)
    lease = home.lease(home.claim(f"again@{JOB}", me), me)
    write_bundle(home.settings.paths.inbox / f"again@{JOB}")
    where_is = History.where_is

    def slowly(history: History, job_id: str) -> Whereabouts | None:
        monkeypatch.setattr(History, "where_is", where_is)
        known = where_is(history, job_id)
        clerk.publisher.publish(lease, PASSED, None)
        clerk.publisher.put_away(JOB, lease.work_name, Verdict.PASSED, "")
        return known

    monkeypatch.setattr(History, "where_is", slowly)
    claimed = clerk.take_in(f"again@{JOB}")
    assert home.history.job(claimed.job_id).state is JobState.QUEUED
    assert home.entries("archive") == [f"again@{JOB}"]


def test_a_bundle_under_the_id_of_a_job_of_another_submitter_that_was_given_back_is_another_job(home: Home) -> None:
    me = Owner.current()
    clerk = home.clerk(me)
    claimed = home.claim(f"mine@{JOB}", me)
    home.repository.register(replace(new_job(claimed), submitter_uid=claimed.submitter_uid + 1))
    clerk.give_back(claimed)
    write_bundle(home.settings.paths.inbox / f"another@{JOB}")
    assert clerk.take_in(f"another@{JOB}").job_id != JOB
    assert home.history.job(JOB).state is JobState.WITHDRAWN


@needs_root
def test_a_bundle_that_was_given_back_keeps_its_id_whoever_came_meanwhile(home: Home) -> None:
    """Giving it back made it the later of the two."""
    me = Owner.current()
    clerk = home.clerk(me)
    claimed = home.claim(f"mine@{JOB}", me)
    clerk.register(claimed)
    write_bundle(home.settings.paths.inbox / f"another@{JOB}")
    os.chown(home.settings.paths.inbox / f"another@{JOB}", 4711, -1)
    clerk.give_back(claimed)
    assert clerk.take_in(f"mine@{JOB}", came_later=True).job_id == JOB
    assert clerk.take_in(f"another@{JOB}").job_id != JOB
    assert home.history.job(JOB).name == "mine"


@needs_root
@pytest.mark.parametrize("name", ["mine", "m" * 255], ids=["short", "long"])
def test_a_bundle_whose_name_somebody_has_taken_meanwhile_comes_back_for_the_same_job(home: Home, name: str) -> None:
    """Everybody who may drop bundles reads the ids there, and a folder without a contract is not taken for an hour."""
    me = Owner.current()
    clerk, inbox = home.clerk(me), home.settings.paths.inbox
    write_bundle(inbox / fit(name, f"@{JOB}"))
    claimed = Spool(home.settings.paths, me).claim(fit(name, f"@{JOB}"))
    clerk.register(claimed)
    (inbox / claimed.settled_name).mkdir()
    os.chown(inbox / claimed.settled_name, 4711, -1)
    back = clerk.give_back(claimed)
    assert back is not None
    assert clerk.take_in(back).job_id == JOB
    job = home.history.job(JOB)
    assert (job.state, job.dropped_at) == (JobState.QUEUED, claimed.dropped_at)
    assert home.entries("inbox") == [claimed.settled_name]


@needs_root
@pytest.mark.parametrize("known", ["to nobody", "withdrawn"])
def test_who_cancels_a_job_ends_that_of_its_sender_and_not_another_under_its_id(home: Home, known: str) -> None:
    me, inbox = Owner.current(), home.settings.paths.inbox
    clerk = home.clerk(me)
    claimed = home.claim(f"mine@{JOB}", me) if known == "withdrawn" else write_bundle(inbox / f"mine@{JOB}")
    write_bundle(inbox / f"another@{JOB}")
    os.chown(inbox / f"another@{JOB}", 4711, -1)
    if isinstance(claimed, Claimed):
        clerk.register(claimed)
        clerk.give_back(claimed)
    assert clerk.publisher.cancel(JOB, "me") is not None
    assert home.history.job(JOB).name == "mine"
    assert home.entries("inbox") == [f"another@{JOB}"]


def test_an_entry_that_came_with_anothers_id_is_not_given_back_for_it(home: Home) -> None:
    mine = home.claim(f"mine@{JOB}", Owner.current())
    assert is_its_own(mine, None) and is_its_own(mine, mine.path.name)
    assert not is_its_own(mine, f"first@{mine.path.name.partition('@')[2]}")


def test_a_bundle_that_was_taken_out_of_work_by_hand_and_claimed_again_is_the_same_job(home: Home) -> None:
    me = Owner.current()
    claimed = home.claim(f"moved@{JOB}")
    home.clerk(DEAD).register(claimed)
    claimed.path.rename(home.settings.paths.inbox / f"moved@{JOB}")
    again = home.clerk(me).take_in(f"moved@{JOB}")
    assert again.job_id == JOB
    assert home.history.job(JOB).work_name == again.path.name
