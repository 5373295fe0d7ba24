"""What a kill can leave behind, built by hand on a real disk and a real database, and what reconciling makes of it."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import silent_mount
from service_home import DEAD, ELSEWHERE, JOB, PASSED, Home, home_in

from daemon import disks, fsio, holders, judging, outage, reconcile, result_document, results, retention
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote
from daemon.db.errors import StorageUnavailable
from daemon.db.records import Description, Lease, Published
from daemon.db.repository import Repository
from daemon.errors import HarnessError, LostClaim, NotKept
from daemon.evaluation import Evaluation
from daemon.intake.owner import Owner
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Clerk, Unended
from daemon.lifecycle import JobState
from daemon.publishing import Finished, is_in_hand
from daemon.verdict import Verdict


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with home_in(tmp_path / "home") as made:
        yield made


def last_attempt(home: Home, name: str) -> tuple[Claimed, Clerk, Lease]:
    """A bundle that a slot of this daemon is at for the only time that it may be."""
    home.repository.max_attempts = 1
    claimed, clerk = home.claim(name, Owner.current()), home.clerk(Owner.current())
    clerk.register(claimed)
    lease = home.repository.lease(claimed.job_id, Owner.current().tag, 60)
    assert lease is not None
    return claimed, clerk, lease


def assert_one_result(home: Home, job_id: str) -> None:
    """One is to be seen, and it is the one that the database has."""
    [shown] = home.settings.paths.results.glob(f"[0-9]*/{job_id}/result.json")
    assert json.loads(shown.read_text("utf-8")) == home.history.job(job_id).document


def test_a_clean_home_needs_no_repair(home: Home) -> None:
    assert home.reconcile().total == 0


def test_a_bundle_claimed_but_never_registered_is_queued(home: Home) -> None:
    claimed = home.claim("orphan")
    assert home.reconcile().registered == 1
    assert home.history.job(claimed.job_id).state is JobState.QUEUED


def test_a_link_that_was_claimed_but_never_registered_is_queued_and_not_followed(home: Home, tmp_path: Path) -> None:
    with silent_mount.mounted(tmp_path / "silent") as given_up:
        (home.settings.paths.inbox / "orphan").symlink_to(tmp_path / "silent" / "x")
        claimed = Spool(home.settings.paths, DEAD).claim("orphan")
        assert home.reconcile().registered == 1
        assert not given_up.is_set(), "somebody asked what is mounted there"
    assert home.history.job(claimed.job_id).state is JobState.QUEUED


def test_a_lease_of_a_dead_daemon_on_this_host_is_taken_back_at_once(home: Home) -> None:
    lease = home.lease(home.claim("left"))
    assert home.reconcile().requeued == 1
    job = home.history.job(lease.job_id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 1)
    assert job.fence > lease.fence


@pytest.mark.parametrize("host", ["elsewhere", Owner.current().host])
@pytest.mark.parametrize("is_there", [True, False])
def test_a_bundle_that_only_another_living_daemon_can_see_costs_no_attempt(
    home: Home, host: str, is_there: bool
) -> None:
    owner = Owner(host, "abcd", 1)
    claimed = home.claim("theirs", owner)
    home.clerk(owner).register(claimed)
    claimed.path.rename(home.settings.paths.home / "on another disk")
    if is_there:
        home.daemons.report(DaemonNote(owner.tag, host, 1, "0", 1, "/srv/inbox", 60))
    me = home.clerk(Owner.current())
    lease = home.repository.lease(claimed.job_id, Owner.current().tag, 60)
    assert lease is not None
    outcome = me.judge(lease, lambda _: None)
    job = home.history.job(claimed.job_id)
    is_out_of_reach = is_there
    assert outcome is (Unended.NO_BUNDLE if is_out_of_reach else Unended.RETRIED)
    assert job is not None
    assert (job.state, job.attempts) == (JobState.QUEUED, 0 if is_out_of_reach else 1)


def test_a_job_that_cannot_be_judged_has_what_its_contract_said_in_its_result(home: Home) -> None:
    claimed = home.claim("labelled")
    clerk = home.clerk(Owner.current())
    clerk.register(claimed)
    lease = home.repository.lease(claimed.job_id, Owner.current().tag, 60)
    assert lease is not None
    said = Description("evaluate", "triton", problem="relu", labels={"author": "me"}, source_sha256="ab")
    home.repository.start(lease, said)
    finished = clerk.publisher.cancel(claimed.job_id, "me")
    assert finished is not None
    document = home.history.job(claimed.job_id).document  # type: ignore[union-attr]
    assert (document["problem"], document["labels"]) == ("relu", {"author": "me"})
    assert (document["source_sha256"], document["contract_sha256"]) == ("ab", None)


@pytest.mark.parametrize(("late_s", "queue_ms"), [(3600.0, 3_600_500.0), (-3600.0, 500.0)], ids=["late", "clock ahead"])
def test_a_result_says_how_long_its_bundle_has_waited(home: Home, late_s: float, queue_ms: float) -> None:
    """Until it was claimed, and for a device after that."""
    me = Owner.current()
    claimed, clerk = home.claim("patient", me), home.clerk(me)
    clerk.register(claimed)
    lease = home.repository.lease(claimed.job_id, me.tag, 60)
    assert lease is not None
    lease = replace(lease, dropped_at=lease.claimed_at - timedelta(seconds=late_s))
    clerk.publisher.publish(lease, PASSED.model_copy(update={"waited_ms": 500.0}), None)
    job = home.history.job(claimed.job_id)
    assert job is not None
    assert job.queue_ms == job.document["queue_ms"] == pytest.approx(queue_ms)


@pytest.mark.parametrize("is_at_work", [True, False])
def test_a_lease_that_ran_out_while_its_host_slept_is_left_until_its_daemon_has_had_the_time_to_extend_it(
    home: Home, monkeypatch: pytest.MonkeyPatch, is_at_work: bool
) -> None:
    """Of two daemons on it the one that is not judging may be the first to look."""
    slept_s = iter([10.0, 3610.0, 3610.0])
    monkeypatch.setattr(reconcile, "_slept_s", lambda: next(slept_s))
    neighbour = replace(Owner.current(), pid=os.getppid())
    lease = home.lease(home.claim("theirs", neighbour), neighbour)
    reconciler = home.reconciler()
    home.repository.heartbeat(lease, -3000)
    assert reconciler.run().requeued == 0
    if is_at_work:
        home.repository.heartbeat(lease, 60)
    assert reconciler.run().requeued == (0 if is_at_work else 1)
    job = home.history.job(lease.job_id)
    assert job is not None
    assert job.state is (JobState.RUNNING if is_at_work else JobState.QUEUED)


def test_a_lease_of_another_host_is_left_to_run_out(home: Home) -> None:
    elsewhere = Owner("elsewhere", "abcd", 1)
    lease = home.lease(home.claim("theirs", elsewhere), elsewhere)
    assert home.reconcile().total == 0
    assert home.history.job(lease.job_id).state is JobState.RUNNING


def test_a_result_that_the_database_never_heard_of_is_published_from_the_outbox(home: Home) -> None:
    claimed = home.claim("told")
    lease = home.lease(claimed)
    home.stage(lease)
    repairs = home.reconcile()
    assert (repairs.published, repairs.released, repairs.put_away) == (1, 1, 1)
    assert home.history.job(lease.job_id).verdict is Verdict.PASSED
    assert home.published() == [lease.job_id]
    assert home.entries("work") == home.entries("outbox") == []
    assert home.entries("archive") == [f"told@{lease.job_id}"]
    assert home.reconcile().total == 0


@pytest.mark.parametrize("is_over", [True, False])
def test_a_result_whose_daemon_has_not_reached_the_database_for_a_whole_lease_is_told_by_another(
    home: Home, is_over: bool
) -> None:
    """Or the job would be judged again, at the cost of an attempt. Its daemon may still be about to tell it."""
    claimed = home.claim("theirs", ELSEWHERE)
    theirs = home.clerk(ELSEWHERE)
    theirs.register(claimed)
    lease = home.repository.lease(claimed.job_id, ELSEWHERE.tag, -0.001 if is_over else 60)
    assert lease is not None
    home.repository.start(lease)
    waiting = home.stage(lease)
    assert home.reconcile().published == is_over
    assert home.repository.publish(lease, Published(PASSED, waiting.document() if not is_over else {})) is not is_over
    results.release(home.settings.paths, waiting, datetime.now(UTC), "theirs", os.geteuid())
    assert home.published() == [claimed.job_id]
    assert home.entries("outbox") == []
    job = home.history.job(claimed.job_id)
    assert (job.state, job.verdict, job.attempts) == (JobState.FINISHED, Verdict.PASSED, 1)


def test_a_lease_whose_answer_nobody_has_heard_goes_back_and_costs_no_attempt(home: Home) -> None:
    me = Owner.current()
    reconciler = home.reconciler()
    reconciler.run()
    claimed = home.claim("unheard", me)
    home.clerk(me).register(claimed)
    assert home.repository.lease(claimed.job_id, me.tag, 60) is not None
    assert reconciler.run().requeued == 0, "a slot may be just about to begin"
    assert reconciler.run().requeued == 1
    job = home.history.job(claimed.job_id)
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)
    lease = home.repository.lease(claimed.job_id, me.tag, 60)
    assert lease is not None
    assert reconciler.run().requeued == 0, "it is another one"
    assert home.repository.publish(lease, Published(PASSED, {}))


@pytest.mark.parametrize("what", ["from before", "at work", "begun", "has a result"])
def test_a_lease_that_may_have_been_heard_of_is_left(home: Home, what: str) -> None:
    """A daemon in a container has the name of the one before it, which may have died of this very bundle."""
    me = Owner.current()
    claimed = home.claim("heard", me)
    home.clerk(me).register(claimed)
    reconciler = home.reconciler(lambda _: what == "at work")
    if what != "from before":
        reconciler.run()
    lease = home.repository.lease(claimed.job_id, me.tag, 60)
    assert lease is not None
    if what == "begun":
        home.repository.start(lease)
    for _ in range(3):
        if what == "has a result":  # which the database cannot be told of
            staged = home.settings.paths.outbox / f"{lease.job_id}.{lease.fence}"
            staged.mkdir(exist_ok=True)
            (staged / results.RESULT_FILE).touch()
        assert reconciler.run().requeued == 0
    assert home.history.held_by(me.tag)[0].fence == lease.fence


def test_a_published_result_that_was_not_released_is_released_once(home: Home) -> None:
    lease = home.lease(home.claim("quiet"))
    waiting = home.stage(lease)
    assert home.repository.publish(lease, Published(PASSED, waiting.document()))
    repairs = home.reconcile()
    assert (repairs.published, repairs.released, repairs.put_away) == (0, 1, 1)
    assert home.published() == [lease.job_id]
    assert (home.settings.paths.results / "by-user" / str(os.geteuid()) / "quiet" / "result.json").is_file()


def test_a_published_result_that_a_file_server_does_not_find_for_a_moment_is_released_later(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An NFS client that has asked for a name before it was written goes on without it for up to half a minute."""
    lease = home.lease(home.claim("quiet"))
    waiting = home.stage(lease)
    assert home.repository.publish(lease, Published(PASSED, waiting.document()))
    is_file = Path.is_file
    with monkeypatch.context() as negative:
        negative.setattr(Path, "is_file", lambda path: path.parent != waiting.folder and is_file(path))
        assert home.reconcile().discarded == 0
    assert home.reconcile().released == 1
    assert home.published() == [lease.job_id]


def test_a_staged_result_of_an_older_fence_is_dropped(home: Home) -> None:
    lease = home.lease(home.claim("thawed"))
    home.stage(lease)
    home.repository.abandon(DEAD.tag)
    assert home.reconcile().discarded == 1
    assert home.published() == []
    assert home.history.job(lease.job_id).state is JobState.QUEUED


def test_a_result_whose_writing_a_kill_interrupted_is_removed_and_one_being_written_is_kept(home: Home) -> None:
    me = Owner.current()
    dead, mine = home.lease(home.claim("dead")), home.lease(home.claim("mine", me), me)
    for lease in (dead, mine):
        (home.settings.paths.outbox / f".tmp-{lease.job_id}.{lease.fence}-{'a' * 32}").mkdir()
    (home.settings.paths.outbox / ".tmp-something").mkdir()
    assert home.reconcile(frozenset({mine.job_id})).discarded == 2
    assert home.entries("outbox") == [f".tmp-{mine.job_id}.{mine.fence}-{'a' * 32}"]


def test_a_result_that_a_daemon_elsewhere_may_be_writing_is_kept_and_one_of_a_lease_before_is_not(home: Home) -> None:
    lease = home.lease(home.claim("theirs", ELSEWHERE), ELSEWHERE)
    drafts = [f".tmp-{lease.job_id}.{fence}-{'a' * 32}" for fence in (lease.fence - 1, lease.fence)]
    for draft in drafts:
        (home.settings.paths.outbox / draft).mkdir()
    assert home.reconcile().discarded == 1
    assert home.entries("outbox") == [drafts[1]]


def test_a_result_that_another_tells_the_database_at_the_same_moment_is_not_told_again(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = home.lease(home.claim("cancelled"))
    home.stage(lease)
    publish = Repository.publish

    def too_late(repository: Repository, mine: Lease, published: Published) -> bool:
        repository.abandon(DEAD.tag)
        return publish(repository, mine, published)

    monkeypatch.setattr(Repository, "publish", too_late)
    assert home.reconcile().discarded == 1
    assert home.entries("outbox") == home.published() == []


def test_what_was_staged_for_a_cancel_whose_lease_another_took_is_not_left_in_the_outbox(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Owner.current()
    claimed, clerk = home.claim("wanted", me), home.clerk(me)
    clerk.register(claimed)
    publish_many = Repository.publish_many

    def too_late(repository: Repository, ends: Iterable[tuple[Lease, Published]]) -> set[str]:
        monkeypatch.undo()  # once
        assert repository.seize(claimed.job_id, DEAD.tag, 60) is not None
        return publish_many(repository, ends)

    monkeypatch.setattr(Repository, "publish_many", too_late)
    [ended] = clerk.publisher.cancel_many([claimed.job_id], {}, "me")
    assert [ended.job_id] == home.published() == [claimed.job_id]
    assert home.entries("outbox") == []


def test_a_sweep_that_is_cancelled_leaves_those_of_it_that_a_restored_database_has_forgotten_to_be_judged(
    home: Home,
) -> None:
    me = Owner.current()
    judged, waits = (home.lease(home.claim(name, me), me) for name in ("judged", "waits"))
    results.release(home.settings.paths, home.stage(judged), datetime.now(UTC), "judged")
    ended = home.clerk(me).publisher.cancel_many([judged.job_id, waits.job_id], {}, "me")
    assert [one.job_id for one in ended] == [waits.job_id]
    job = home.history.job(judged.job_id)
    assert job is not None
    assert job.verdict is Verdict.PASSED
    assert_one_result(home, judged.job_id)


def test_a_result_that_cannot_be_released_yet_counts_and_is_released_later(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Owner.current()
    lease = home.lease(home.claim("early", me), me)

    def closed(*_: object) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(results, "release", closed)
        finished = home.clerk(me)._finish(lease, PASSED, None)
    assert isinstance(finished, Finished)
    assert (home.entries("outbox"), home.entries("work"), home.published()) == (
        [f"{lease.job_id}.{lease.fence}"],
        [],
        [],
    )
    assert home.reconcile().released == 1
    assert home.published() == [lease.job_id]


def test_what_runs_goes_on_between_any_two_repairs(home: Home) -> None:
    """Of a hundred thousand bundles, say: leases would run out meanwhile."""
    for name in ("one", "two"):
        home.stage(home.lease(home.claim(name)))
    seen = set[int]()
    home.reconciler(meanwhile=lambda: seen.add(len(home.published()))).run()
    assert seen == {0, 1, 2}


def test_a_result_whose_removal_a_kill_interrupted_is_removed(home: Home) -> None:
    lease = home.lease(home.claim("torn"))
    staged = home.stage(lease)
    home.repository.retry(lease, "its disk was full")
    (staged.folder / results.RESULT_FILE).unlink()
    assert home.reconcile().discarded == 1
    assert list(home.settings.paths.outbox.iterdir()) == []


def test_a_result_this_process_is_publishing_right_now_is_not_touched(home: Home) -> None:
    me = Owner.current()
    lease = home.lease(home.claim("mine", me), me)
    home.stage(lease)
    assert home.reconcile(frozenset({lease.job_id})).total == 0
    assert home.reconcile().published == 1


def test_a_finished_bundle_left_in_work_is_put_where_its_verdict_says(home: Home) -> None:
    passed, refused = home.lease(home.claim("passed")), home.lease(home.claim("refused"))
    rejection = Evaluation.rejected("no kernel")
    for lease, evaluation in ((passed, PASSED), (refused, rejection)):
        document = result_document.compose(
            result_document.Subject(lease.job_id, lease.name), evaluation, datetime.now(UTC)
        )
        home.repository.publish(lease, Published(evaluation, document))
    assert home.reconcile().put_away == 2
    assert home.entries("archive") == [f"passed@{passed.job_id}"]
    assert home.entries("rejected") == [f"refused@{refused.job_id}"]


def test_a_private_copy_that_nobody_uses_is_removed_and_one_in_use_is_kept(home: Home) -> None:
    me = Owner.current()
    lease = home.lease(home.claim("used", me), me)
    in_use = [f".{lease.job_id}.{lease.fence}.copying", f"{lease.job_id}.{lease.fence}"]
    for name in (*in_use, f"{lease.job_id}.{lease.fence - 1}", f"{'0' * 32}.1", f".{'1' * 32}.1.copying"):
        (home.settings.paths.jobs / name).mkdir()
    assert home.reconcile().copies_removed == 3
    assert home.entries("jobs") == in_use


def test_a_job_whose_judge_always_dies_ends_broken_after_its_attempts_with_a_result_and_its_files(home: Home) -> None:
    me = Owner.current()
    claimed = home.claim("unlucky", me)
    clerk = home.clerk(me)
    clerk.register(claimed)
    for attempt in range(home.repository.max_attempts):
        lease = home.repository.lease_next(me.tag, 60)
        assert lease is not None
        assert lease.attempt == attempt + 1
        finished = clerk.judge(lease, lambda _: None)
    assert finished is not None
    assert finished.evaluation.verdict is Verdict.HARNESS_ERROR
    assert home.repository.lease_next(me.tag, 60) is None
    assert home.history.job(claimed.job_id).state is JobState.BROKEN
    assert home.published() == [claimed.job_id]
    (place,) = home.settings.paths.quarantine.iterdir()
    assert "the judge died" in (place / "reason.txt").read_text("utf-8")
    assert (place / "unlucky" / "contract.json").is_file()


def test_a_broken_job_whose_end_was_interrupted_has_one_document_wherever_it_stands(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = home.claim("unlucky")
    lease = home.lease(claimed)
    while home.repository.retry(lease, "the judge died") is not JobState.BROKEN:
        lease = home.lease(claimed)
    with monkeypatch.context() as full:
        full.setattr(results, "stage_first", no_room)
        home.reconcile()
    assert home.published() == []
    home.reconcile()
    assert_one_result(home, claimed.job_id)


def test_a_broken_job_whose_staged_result_a_disk_has_spoilt_has_one_all_the_same(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.repository.max_attempts = 1
    claimed = home.claim("unlucky")
    assert home.repository.retry(home.lease(claimed), "the judge died") is JobState.BROKEN
    with monkeypatch.context() as away:
        away.setattr(results, "release", no_room)
        home.reconcile()
    [staged] = results.staged(home.settings.paths)
    (staged.folder / "result.json").write_bytes(bytes(4096))
    home.reconcile()
    assert_one_result(home, claimed.job_id)
    assert (home.entries("work"), home.entries("outbox")) == ([], [])


def test_a_job_whose_leases_were_all_lost_and_whose_bundle_has_vanished_has_a_result(home: Home) -> None:
    home.repository.max_attempts = 1
    claimed = home.claim("vanished")
    home.lease(claimed)
    fsio.remove_tree(claimed.path)
    home.repository.abandon(claimed.owner.tag)
    assert home.history.job(claimed.job_id).state is JobState.BROKEN
    assert home.reconcile().given_up == 1
    [shown] = home.settings.paths.results.glob(f"[0-9]*/{claimed.job_id}/result.json")
    told = json.loads(shown.read_text("utf-8"))
    assert (told["verdict"], told["name"]) == ("harness_error", "vanished")
    assert told == home.history.job(claimed.job_id).document
    assert (home.settings.paths.results / "by-name" / "vanished" / "result.json").is_file()
    assert home.reconcile().total == 0


@pytest.mark.parametrize("together", [False, True])
def test_a_result_that_this_process_is_staging_for_who_cancels_is_not_taken_for_left_behind(
    home: Home, monkeypatch: pytest.MonkeyPatch, together: bool
) -> None:
    """Over HTTP that is no thread of the daemon's: whoever cancelled was told that evald waits for its storage."""
    me = Owner.current()
    claimed, publisher = home.claim("unwanted", me), home.clerk(me).publisher
    home.clerk(me).register(claimed)
    rename = fsio.rename

    def meanwhile(source: Path, target: Path, **how: bool) -> None:
        if target.parent == home.settings.paths.outbox:
            assert home.reconcile().total == 0
        rename(source, target, **how)

    monkeypatch.setattr(fsio, "rename", meanwhile)
    ended = publisher.cancel_many([claimed.job_id], {}, "me") if together else [publisher.cancel(claimed.job_id, "me")]
    assert [one and one.job_id for one in ended] == [claimed.job_id]
    assert home.published() == [claimed.job_id]
    assert not is_in_hand(claimed.job_id)


def test_a_disk_that_only_renames_nothing_uses_up_no_attempt(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes every file that is tried with, and no result."""
    monkeypatch.setattr(outage, "_PAUSES_S", (0.01,) * 5)
    me = Owner.current()
    claimed, clerk = home.claim("unlucky", me), home.clerk(me)
    clerk.register(claimed)
    rename = fsio.rename

    def no_more(source: Path, target: Path, **how: bool) -> None:
        if target.parent == home.settings.paths.outbox:
            raise OSError(errno.EPERM, "Operation not permitted")
        rename(source, target, **how)

    with monkeypatch.context() as append_only:
        append_only.setattr(fsio, "rename", no_more)
        for _ in range(5):
            lease = home.repository.lease(claimed.job_id, me.tag, 60)
            assert lease is not None, "its attempts are used up"
            with pytest.raises(NotKept):
                clerk._finish(lease, PASSED, None)
    lease = home.repository.lease(claimed.job_id, me.tag, 60)
    assert lease is not None
    assert lease.attempt == 1
    clerk._finish(lease, PASSED, None)
    assert home.published() == [claimed.job_id]
    assert home.entries("outbox") == []


def test_what_a_kill_leaves_of_a_trial_is_removed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as killing:
        killing.setattr(fsio, "remove_tree", _killed)
        with pytest.raises(_Killed):
            disks.refusal_of(home.settings)
    assert len(home.entries("outbox")) == 1
    home.reconcile()
    assert home.entries("outbox") == []
    assert disks.refusal_of(home.settings) is None


class _Killed(BaseException):
    """Nobody expects it."""


def _killed(*_: object, **__: object) -> None:
    raise _Killed


@pytest.mark.parametrize("step", ["staging", "staged", "told", "released"])
@pytest.mark.parametrize("has_vanished", [True, False])
def test_a_kill_while_a_job_is_given_up_leaves_it_with_one_result(
    home: Home, monkeypatch: pytest.MonkeyPatch, step: str, has_vanished: bool
) -> None:
    """Where its bundle had vanished nobody gave it a file any more once the database had its result."""
    home.repository.max_attempts = 1
    claimed = home.claim("vanished")
    home.lease(claimed)
    if has_vanished:
        fsio.remove_tree(claimed.path)
    home.repository.abandon(claimed.owner.tag)
    attach, release = home.repository.attach_result, results.release
    with monkeypatch.context() as killing:
        if step == "staging":
            killing.setattr(results, "stage_first", _killed)
        elif step == "staged":
            killing.setattr(home.repository, "attach_result", _killed)
        elif step == "told":
            killing.setattr(home.repository, "attach_result", lambda *told: (attach(*told), _killed()))
        else:
            killing.setattr(results, "release", lambda *told: (release(*told), _killed()))
        with pytest.raises(_Killed):
            home.reconcile()
    home.reconcile()
    assert_one_result(home, claimed.job_id)
    assert (home.settings.paths.results / "by-name" / "vanished" / "result.json").is_file()
    assert home.reconcile().total == 0
    assert home.entries("outbox") == home.entries("work") == []


def test_a_kill_while_a_job_is_given_up_after_its_last_attempt_leaves_it_with_one_result(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed, clerk, lease = last_attempt(home, "vanished")
    fsio.remove_tree(claimed.path)
    attach = home.repository.attach_result
    with monkeypatch.context() as killing:
        killing.setattr(home.repository, "attach_result", lambda *told: (attach(*told), _killed()))
        with pytest.raises(_Killed):
            clerk.judge(lease, lambda _: None)
    home.reconcile()
    assert_one_result(home, claimed.job_id)
    assert home.reconcile().total == 0


def test_two_who_give_a_job_up_at_the_same_moment_leave_it_with_one_result(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot whose last attempt it was, and a daemon that repairs: both have composed a result and staged it, and
    the slot is done before the other tells the database."""
    claimed, clerk, lease = last_attempt(home, "unlucky")
    compose, attach = result_document.compose, home.repository.attach_result
    other = threading.Thread(target=home.reconcile)
    others = {step: threading.Event() for step in ("composed", "staged")}
    ours = {step: threading.Event() for step in ("staged", "done")}

    def composed(*told: Any) -> dict[str, Any]:
        if threading.current_thread() is other:
            others["composed"].set()
            assert ours["staged"].wait(300)
        else:
            other.start()
            assert others["composed"].wait(300)
        return compose(*told)

    def attached(*told: Any) -> Mapping[str, Any]:
        if threading.current_thread() is other:
            others["staged"].set()
            assert ours["done"].wait(300)
        else:
            ours["staged"].set()
            assert others["staged"].wait(300)
        return attach(*told)

    monkeypatch.setattr(result_document, "compose", composed)
    monkeypatch.setattr(home.repository, "attach_result", attached)
    clerk.judge(lease, lambda _: None)
    ours["done"].set()
    other.join(300)
    assert_one_result(home, claimed.job_id)
    assert home.reconcile().total == 0
    assert home.entries("outbox") == home.entries("work") == []


@pytest.mark.parametrize("passes", [1, 2])
def test_a_result_that_a_slot_is_writing_for_a_job_that_it_gives_up_costs_it_nothing_when_another_daemon_repairs(
    home: Home, monkeypatch: pytest.MonkeyPatch, passes: int
) -> None:
    """What it has written is left to it until another result is there; then there is that one."""
    claimed, clerk, lease = last_attempt(home, "unlucky")
    move = fsio.rename

    def late(source: Path, target: Path, *, durably: bool = True) -> None:
        if source.name.startswith(".tmp-"):
            monkeypatch.setattr(fsio, "rename", move)
            for _ in range(passes):
                home.reconcile()
        move(source, target, durably=durably)

    monkeypatch.setattr(fsio, "rename", late)
    clerk.judge(lease, lambda _: None)
    assert_one_result(home, claimed.job_id)
    assert home.reconcile().total == 0
    assert home.entries("outbox") == home.entries("work") == []


def test_what_a_slot_is_still_at_is_put_away_by_that_slot_alone(home: Home) -> None:
    """Two of one daemon in each other's way: the slot's own move fails, and is taken for a fault."""
    home.repository.max_attempts = 1
    claimed = home.claim("unlucky", Owner.current())
    lease = home.lease(claimed, Owner.current())
    home.repository.retry(lease, "the judge died")
    assert home.reconcile(frozenset([claimed.job_id])).total == 0
    assert home.published() == []
    assert home.reconcile().put_away == 1


def test_a_bundle_that_another_daemon_is_just_claiming_is_not_put_away_for_one_that_had_its_name_and_id(
    home: Home,
) -> None:
    """Its job ended between two looks of that daemon, so the entry in work/ is called as the one that was judged."""
    other = Owner(Owner.current().host, Owner.current().boot_id, os.getppid())
    before = home.claim(f"again@{JOB}", other)
    lease = home.lease(before, other)
    home.repository.publish(lease, Published(PASSED, {"verdict": "passed"}, None))
    clerk = home.clerk(other)
    clerk.publisher.put_away(JOB, before.path.name, PASSED.verdict, "")
    claimed = home.claim(f"again@{JOB}", other)
    assert claimed.path == before.path
    home.reconcile()
    assert home.entries("work") == [before.path.name]
    another = clerk.publisher.claims.as_its_own(claimed, just_now=True)
    assert another.job_id != JOB
    assert home.history.job(another.job_id).state is JobState.QUEUED


@pytest.mark.parametrize("lives", [True, False])
def test_a_bundle_of_ours_that_another_daemon_is_giving_back_is_queued_only_when_that_one_is_dead(
    home: Home, monkeypatch: pytest.MonkeyPatch, lives: bool
) -> None:
    """It had taken our job, and stops: between its withdrawal and its rename we would judge what it puts into the inbox
    to be judged again."""
    me = Owner.current()
    other = Owner(me.host, me.boot_id, os.getppid()) if lives else DEAD
    claimed = home.claim("shared", me)
    home.clerk(me).register(claimed)
    assert home.repository.lease(claimed.job_id, other.tag, 60) is not None
    registered = list[int]()

    def late(step: str) -> None:
        if step == "give_back.withdrawn":
            registered.append(home.reconcile().registered)

    with monkeypatch.context() as slow:
        slow.setattr(judging.failpoints, "hit", late)
        home.clerk(other).give_back(claimed)
    assert registered == [0 if lives else 1]
    assert home.entries("inbox") == ["shared"]
    state = home.history.job(claimed.job_id).state
    assert state is (JobState.WITHDRAWN if lives else JobState.QUEUED)


def test_a_cleanup_does_not_forget_a_job_whose_bundle_its_daemon_has_yet_to_put_away(home: Home) -> None:
    """Nobody would know it wherever it went."""
    me = Owner.current()
    claimed = home.claim("closed", me)
    lease = home.lease(claimed, me)
    home.repository.publish(lease, Published(PASSED, {"verdict": "passed"}, None))

    def cleaned() -> tuple[str, ...]:
        return retention.clean(home.settings.paths, home.repository._database, timedelta(0), 0, dry_run=False).job_ids

    assert cleaned() == ()
    assert (home.reconcile().registered, home.entries("work")) == (0, [])
    assert cleaned() == (claimed.job_id,)
    assert home.entries("archive") == []


def test_a_cleanup_takes_the_bundle_of_an_ended_job_that_a_dead_daemon_left_in_work(home: Home) -> None:
    """And is not held up by what is no claimed bundle."""
    claimed = home.claim("left")
    home.repository.publish(home.lease(claimed), Published(PASSED, {"verdict": "passed"}, None))
    (home.settings.paths.work / "notes.txt").touch()
    removed = retention.clean(home.settings.paths, home.repository._database, timedelta(0), 0, dry_run=False)
    assert removed.job_ids == (claimed.job_id,)
    assert home.entries("work") == ["notes.txt"]


def no_room(*_: object) -> results.Staged:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_result_stays_in_the_outbox_while_the_database_is_away(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    me = Owner.current()
    clerk = home.clerk(me)
    claimed = home.claim("outage", me)
    (claimed.path / "contract.json").write_text("{}", "utf-8")
    clerk.register(claimed)
    lease = home.repository.lease_next(me.tag, 60)

    def unavailable(*_: object) -> bool:
        raise StorageUnavailable("the database is away")

    with monkeypatch.context() as outage:
        outage.setattr(home.repository, "publish", unavailable)
        with pytest.raises(StorageUnavailable):
            clerk.judge(lease, lambda _: None)
    assert len(home.entries("outbox")) == 1
    assert home.published() == []
    assert home.reconcile().published == 1
    assert home.published() == [claimed.job_id]
    assert home.history.job(claimed.job_id).verdict is Verdict.REJECTED


def test_a_bundle_that_nobody_may_move_has_its_result_and_pauses_no_slot(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender has taken the right to away since it was claimed."""
    me = Owner.current()
    clerk = home.clerk(me)
    claimed = home.claim("closed", me)
    (claimed.path / "contract.json").write_text("{}", "utf-8")
    clerk.register(claimed)
    lease = home.repository.lease_next(me.tag, 60)
    waiting = home.lease(home.claim("waiting", me), me)

    def closed(spool: Spool, claimed: Claimed, reason: str) -> Path:
        raise HarnessError(f"cannot move {claimed.path}: Permission denied")

    with monkeypatch.context() as rights:
        rights.setattr(Spool, "reject", closed)
        finished = clerk.judge(lease, lambda _: None)
        assert clerk.publisher.cancel(waiting.job_id, "me") is not None
    assert finished.evaluation.verdict is Verdict.REJECTED
    assert sorted(home.published()) == sorted([lease.job_id, waiting.job_id])
    assert len(home.entries("work")) == 2
    assert home.reconcile().put_away == 2
    assert home.entries("work") == []


def test_a_lost_lease_publishes_nothing(home: Home) -> None:
    me = Owner.current()
    clerk = home.clerk(me)
    claimed = home.claim("stale", me)
    (claimed.path / "contract.json").write_text("{}", "utf-8")
    clerk.register(claimed)
    lease = home.repository.lease_next(me.tag, 60)
    home.repository.abandon(me.tag)
    assert clerk.judge(lease, lambda _: None) is Unended.LOST
    assert home.published() == home.entries("outbox") == []
    assert home.history.job(claimed.job_id).state is JobState.QUEUED


def test_a_withdrawn_bundle_still_in_work_is_queued_again(home: Home) -> None:
    lease = home.lease(home.claim("halfway"))
    home.repository.withdraw(lease)
    assert home.reconcile().registered == 1
    assert home.history.job(lease.job_id).state is JobState.QUEUED


def told(home: Home, lease_s: float = 60) -> None:
    note = DaemonNote(ELSEWHERE.tag, "elsewhere", 1, "1", 1, str(home.settings.paths.inbox), lease_s)
    home.daemons.report(note)


def test_what_another_host_claimed_and_never_queued_is_left_to_it_while_it_lives(home: Home) -> None:
    home.claim("theirs", ELSEWHERE)
    told(home)
    assert home.reconcile().registered == 0


@pytest.mark.parametrize("how", ["never told", "stopped", "silent"])
def test_what_another_host_claimed_and_never_queued_is_queued_when_it_is_gone(home: Home, how: str) -> None:
    claimed = home.claim("theirs", ELSEWHERE)
    if how != "never told":
        told(home, lease_s=0.001 if how == "silent" else 60)
    if how == "stopped":
        home.daemons.mark_stopped(ELSEWHERE.tag)
    assert home.reconcile().registered == 1
    job = home.history.job(claimed.job_id)
    assert job is not None
    assert job.state is JobState.QUEUED


def test_a_bundle_that_another_daemon_puts_away_first_stops_no_repair(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("first", "second"):
        lease = home.lease(home.claim(name))
        results.release(home.settings.paths, home.stage(lease), datetime.now(UTC), name)
        home.repository.publish(lease, Published(PASSED, {}))
    archive, raced = Spool.archive, []

    def slower(spool: Spool, claimed: Claimed) -> Path:
        if not raced:
            raced.append(claimed.name)
            archive(Spool(home.settings.paths, DEAD), claimed)
            raise LostClaim(f"{claimed.path} is gone")
        return archive(spool, claimed)

    monkeypatch.setattr(Spool, "archive", slower)
    home.reconcile()
    assert home.entries("work") == []
    assert len(home.entries("archive")) == 2


def test_the_private_copy_of_a_job_that_was_taken_away_stays_while_this_process_still_judges_it(home: Home) -> None:
    me = Owner.current()
    lease = home.lease(home.claim("seized", me), me)
    copy = home.settings.paths.jobs / f"{lease.job_id}.{lease.fence}"
    copy.mkdir()
    home.repository.abandon(me.tag)
    assert home.reconcile(frozenset({lease.job_id})).copies_removed == 0
    assert home.reconcile().copies_removed == 1
    assert not copy.exists()


def test_a_bundle_that_vanished_because_its_job_was_cancelled_is_no_fault_of_evald(home: Home) -> None:
    me = Owner.current()
    clerk = home.clerk(me)
    lease = home.lease(home.claim("gone", me), me)
    assert clerk.publisher.cancel(lease.job_id, "me") is not None
    assert clerk.judge(lease, lambda _progress: None) is Unended.LOST
    job = home.history.job(lease.job_id)
    assert (job.verdict, job.message) == (Verdict.REJECTED, "cancelled by me")
    assert [attempt.number for attempt in home.history.attempts(lease.job_id)] == [None, None]


def test_what_a_living_process_claimed_and_never_queued_is_queued_after_a_while(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    me = Owner.current()
    alive = Owner(me.host, me.boot_id, os.getppid())
    claimed = home.claim("stranded", alive)
    assert home.reconcile().registered == 0
    monkeypatch.setattr(holders, "_REGISTERED_WITHIN", timedelta(0))
    assert home.reconcile().registered == 1
    assert home.history.job(claimed.job_id).state is JobState.QUEUED


@pytest.mark.parametrize("trouble", ["a name that is a folder", "an evaluation of another version"])
def test_what_cannot_be_mended_keeps_nobody_else_from_it(home: Home, trouble: str) -> None:
    stuck = home.lease(home.claim("stuck"))
    staged = home.stage(stuck)
    if trouble == "a name that is a folder":
        home.repository.publish(stuck, Published(PASSED, {}))
        (home.settings.paths.results / "by-name" / "stuck").mkdir(parents=True)
    else:
        (staged.folder / ".evaluation.json").write_text('{"a_field_of_another_version": 1}', "utf-8")
    other = home.lease(home.claim("other"))
    orphan = home.claim("orphan")
    repairs = home.reconcile()
    assert repairs.requeued >= 1
    assert repairs.registered == 1
    assert {home.history.job(one.job_id).state for one in (other, orphan)} == {JobState.QUEUED}
    home.reconcile()


def test_a_bundle_that_cannot_be_quarantined_does_not_take_its_name_from_newer_results(home: Home) -> None:
    paths = home.settings.paths
    claimed = home.claim("again")
    lease = home.lease(claimed)
    while home.repository.retry(lease, "the judge died") is not JobState.BROKEN:
        lease = home.lease(claimed)
    (paths.quarantine / claimed.settled_name).write_text("in the way", "utf-8")
    home.reconcile()
    assert home.published() == [claimed.job_id]
    newer = home.lease(home.claim("again"))
    shown = results.release(paths, home.stage(newer), datetime.now(UTC), "again")
    home.reconcile()
    assert (paths.results / "by-name" / "again").resolve() == shown
    assert home.entries("outbox") == []
    (paths.quarantine / claimed.settled_name).unlink()
    home.reconcile()
    assert home.entries("quarantine") == [claimed.settled_name]


@pytest.mark.parametrize("trouble", ["it cannot be looked at", "a time that no calendar has"])
def test_an_entry_of_work_that_a_file_server_is_wrong_about_keeps_nobody_else_from_repair(
    home: Home, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    bad = home.claim("bad")
    other = home.lease(home.claim("other"))
    lstat = Path.lstat

    def wrong(path: Path) -> os.stat_result:
        status = lstat(path)
        if path.name != bad.path.name:
            return status
        if trouble == "it cannot be looked at":
            raise OSError(errno.ESTALE, "Stale file handle")
        return os.stat_result([*status[:9], 2**40])

    monkeypatch.setattr(Path, "lstat", wrong)
    assert home.reconcile().requeued == 1
    assert home.history.job(other.job_id).state is JobState.QUEUED


def test_a_bundle_that_a_living_daemon_is_giving_back_is_left_to_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long ago it was claimed: its job is withdrawn first, and then it is moved."""
    monkeypatch.setattr(holders, "_REGISTERED_WITHIN", timedelta(0))
    me = Owner.current()
    alive = Owner(me.host, me.boot_id, os.getppid())
    lease = home.lease(home.claim("leaving", alive), alive)
    home.repository.withdraw(lease)
    assert home.reconcile().registered == 0
    assert home.history.job(lease.job_id).state is JobState.WITHDRAWN


def test_a_bundle_that_went_back_while_it_was_queued_is_not_waited_for(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = home.claim("leaving")
    register = Clerk.register

    def slower(clerk: Clerk, bundle: Claimed) -> bool:
        bundle.path.rename(home.settings.paths.inbox / bundle.name)
        return register(clerk, bundle)

    monkeypatch.setattr(Clerk, "register", slower)
    home.reconcile()
    assert home.history.job(claimed.job_id).state is JobState.WITHDRAWN


@pytest.mark.parametrize("owner", ["a dead daemon", "this one"])
def test_a_repair_asks_for_all_that_waits_at_once(home: Home, monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    """A hundred thousand may wait for a device, and while each is asked for, no lease is extended."""
    me = Owner.current()
    for number in range(50):
        claimed = home.claim(f"waits{number}", DEAD if owner == "a dead daemon" else me)
        home.clerk(me).register(claimed)
    asked = []
    for kind in ("read", "write"):
        one = getattr(Database, kind)
        monkeypatch.setattr(Database, kind, lambda database, one=one: asked.append(one) or one(database))
    assert home.reconcile().total == 0
    assert len(asked) < 10


def test_a_job_that_lowered_attempts_leave_none_to_is_given_up(home: Home) -> None:
    lease = home.lease(home.claim("unlucky"))
    home.repository.retry(lease, "the disk was full")
    assert home.reconcile().put_away == 0
    home.repository.max_attempts = 1
    home.reconcile()
    job = home.history.job(lease.job_id)
    assert (job.state, job.verdict) == (JobState.BROKEN, Verdict.HARNESS_ERROR)
    assert home.published() == [lease.job_id]
    assert len(home.entries("quarantine")) == 1
    assert home.entries("work") == []


def test_a_result_appears_where_a_file_system_has_no_links(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_paths: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(fsio, "point_at", refused)
    lease = home.lease(home.claim("unnamed"))
    home.stage(lease)
    assert home.reconcile().released == 1
    assert home.published() == [lease.job_id]


def away(*_: object) -> None:
    raise StorageUnavailable("the disk is full")


@pytest.fixture
def owed(home: Home, monkeypatch: pytest.MonkeyPatch) -> tuple[Clerk, str]:
    """A clerk who could neither begin a job nor put it back while the database was away, and that job's id. Its lease
    has run out."""
    me = Owner.current()
    clerk, claimed = home.clerk(me), home.claim("mine", me)
    clerk.register(claimed)
    lease = home.repository.lease_next(me.tag, 1e-9)
    assert lease is not None
    with monkeypatch.context() as outage:
        outage.setattr(home.repository, "start", away)
        outage.setattr(home.repository, "put_back", away)
        with pytest.raises(StorageUnavailable):
            clerk.judge(lease, lambda _: None)
        with pytest.raises(StorageUnavailable):
            clerk.settle()
    return clerk, claimed.job_id


def test_an_attempt_that_does_not_count_counts_no_more_where_the_database_hears_of_it_late(
    home: Home, owed: tuple[Clerk, str]
) -> None:
    clerk, job_id = owed
    clerk.settle()
    assert len(home.repository.expire()) == 0, "although the lease has run out"
    job = home.history.job(job_id)
    assert job is not None
    assert (job.state, job.attempts) == (JobState.QUEUED, 0)


def test_why_an_attempt_has_failed_is_told_late_where_the_database_was_away(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the last one ends the job, with that reason in its result."""
    me = Owner.current()
    home.repository.max_attempts = 1
    clerk, claimed = home.clerk(me), home.claim("mine", me)
    clerk.register(claimed)
    lease = home.repository.lease_next(me.tag, 1e-9)
    assert lease is not None

    def failing(*_: object) -> None:
        raise HarnessError("its judge has died")

    with monkeypatch.context() as outage:
        outage.setattr(home.repository, "start", failing)
        outage.setattr(home.repository, "retry", away)
        with pytest.raises(StorageUnavailable):
            clerk.judge(lease, lambda _: None)
    clerk.settle()
    home.reconcile()
    job = home.history.job(claimed.job_id)
    assert job is not None
    assert (job.state, job.message) == (JobState.BROKEN, "its judge has died")
    assert [attempt.reason for attempt in home.history.attempts(claimed.job_id)] == ["its judge has died"]
    [shown] = home.settings.paths.results.glob(f"[0-9]*/{claimed.job_id}/result.json")
    assert "its judge has died" in json.loads(shown.read_text("utf-8"))["message"]
    assert home.entries("work") == []


def test_what_is_told_late_is_no_fault_where_somebody_else_has_the_job_by_then(
    home: Home, owed: tuple[Clerk, str]
) -> None:
    clerk, job_id = owed
    home.repository.expire()
    assert home.repository.lease_next(DEAD.tag, 60) is not None
    clerk.settle()
    job = home.history.job(job_id)
    assert job is not None
    assert (job.lease_owner, job.attempts) == (DEAD.tag, 2)
