"""A job that its sender no longer wants ends at once, once, and with a result, wherever it is."""

from __future__ import annotations

import errno
import json
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest
from service_bundles import result_of
from service_home import DEAD, Home, home_in
from service_rehearsal import SOURCE, Place
from waiting import wait_for

from daemon import fsio, labelled, publishing
from daemon.claims import new_job
from daemon.cli import failing
from daemon.db.connection import Database
from daemon.db.errors import StorageUnavailable
from daemon.db.records import Lease, Published
from daemon.db.repository import Repository
from daemon.errors import HarnessError
from daemon.intake import names
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.labelled import Labelled
from daemon.publishing import Publisher


@pytest.fixture
def idle(here: Place) -> Place:
    """A place that takes bundles, and where no daemon runs."""
    with home_in(here.home):
        return here


def cancelled(home: Home, owner: Owner) -> list[str]:
    """The names of the jobs with the label sweep=1, which `owner` has ended."""
    sweep = Labelled(home.settings, Spool(home.settings.paths, owner), home.history, ("sweep", "1"))
    return [one.name for some in sweep.end(home.clerk(owner).publisher, "me") for one in some]


def dropped(here: Place, name: str, called: str | None = None, **fields: object) -> str:
    """The job id of a bundle that waits in the inbox; `called`: what its contract calls it."""
    job_id = names.make_job_id()
    document = {"name": called or name, "kernel": {"kernel_type": "torch", "source_code": SOURCE}, **fields}
    (here.home / f"{name}.part").write_text(json.dumps(document), "utf-8")
    (here.home / f"{name}.part").rename(here.home / "inbox" / f"{name}.json@{job_id}")
    return job_id


def test_a_running_job_ends_at_once_and_its_daemon_lets_go_of_it(here: Place) -> None:
    daemon = here.start(is_held=True, LEASE_S="12")
    here.drop("unwanted")
    wait_for(lambda: here.state("unwanted") == "running", "the job to run")
    here.drop("wanted")
    job_id = here.jobs()["unwanted"].job_id
    ran = here.evald("cancel", "unwanted", "--json")
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {"cancelled": [job_id], "ended_before": [], "errors": []}
    found = result_of(here.home, "unwanted")
    assert found is not None
    assert found["verdict"] == "rejected"
    assert "cancelled by" in str(found["message"])
    wait_for(lambda: f"let go job={job_id}" in daemon.story, "the daemon to notice")
    wait_for(lambda: here.state("wanted") == "running", "the next job to run")
    assert "cancelled by" in (here.home / "rejected" / f"unwanted.json@{job_id}" / "reason.txt").read_text("utf-8")
    assert here.evald("cancel", job_id).returncode == 1
    assert here.evald("cancel", "wanted").returncode == 0
    wait_for(lambda: here.faults("unwanted", "wanted") == [], "everything put away")
    assert daemon.stop() == 0


def test_a_running_job_is_found_by_the_name_it_was_dropped_under(idle: Place) -> None:
    job_id = dropped(idle, "batch-12", called="relu")
    idle.start(is_held=True)
    wait_for(lambda: idle.state("relu") == "running", "the job to run")
    shown = idle.evald("status", "batch-12", "--json")
    assert json.loads(shown.stdout)["job"]["job_id"] == job_id
    ran = idle.evald("cancel", "batch-12", "--json")
    assert json.loads(ran.stdout)["cancelled"] == [job_id]


def test_a_bundle_nobody_has_claimed_is_taken_out_of_the_inbox(idle: Place) -> None:
    job_id = dropped(idle, "waiting")
    assert idle.evald("cancel", job_id[:12]).returncode == 2  # first digits name a job, and it is none yet
    assert idle.evald("cancel", "waiting").returncode == 0
    assert list((idle.home / "inbox").glob("*@*")) == []
    assert idle.faults("waiting.json") == []
    assert idle.jobs()["waiting.json"].job_id == job_id


def test_one_name_that_nobody_knows_does_not_keep_the_others(idle: Place) -> None:
    job_id = dropped(idle, "waiting")
    ran = idle.evald("cancel", "nosuch", "waiting", "nothing")
    assert ran.returncode == 2
    assert ran.stdout == f"{job_id}  cancelled\n"
    assert ran.stderr.count("no job and no waiting bundle is called") == 2
    told = json.loads(idle.evald("cancel", "nosuch", "waiting", "--json").stdout)
    assert (told["cancelled"], told["ended_before"]) == ([], [job_id])
    assert [error["error"] for error in told["errors"]] == ["no job and no waiting bundle is called 'nosuch'"]


def test_a_bundle_without_a_job_is_left_alone_and_the_message_says_what_to_type(idle: Place) -> None:
    idle.drop("plain")
    ran = idle.evald("cancel", "plain")
    assert ran.returncode == 2
    assert f"rm -r {idle.home / 'inbox' / 'plain.json'}" in ran.stderr
    assert (idle.home / "inbox" / "plain.json").exists()
    ran = idle.evald("cancel", "plian")
    assert ran.returncode == 2
    assert "did you mean plain" in ran.stderr


def test_a_name_stands_for_what_was_dropped_last_whatever_has_become_of_the_others(here: Place) -> None:
    daemon = here.start(is_held=True, CLAIM_AHEAD="1")
    here.drop("twice")
    wait_for(lambda: here.state("twice") == "running", "the job to run")
    (here.home / "pause").touch()
    waiting = [dropped(here, "twice"), dropped(here, "twice")]
    for job_id in (*reversed(waiting), here.jobs()["twice"].job_id):
        ran = here.evald("cancel", "twice", "--json")
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout)["cancelled"] == [job_id]
    assert here.evald("cancel", "twice").returncode == 1
    assert daemon.stop() == 0


def test_of_many_who_cancel_one_job_at_once_exactly_one_ends_it(here: Place) -> None:
    with home_in(here.home) as home:
        job_ids = [dropped(here, f"job{number}") for number in range(5)]
        ended: list[str] = []

        def cancel_all(publisher: Publisher) -> None:
            for job_id in job_ids:
                ended.extend([job_id] if publisher.cancel(job_id, "me") else [])

        publishers = [home.clerk(Owner.current()).publisher for _ in range(4)]
        threads = [threading.Thread(target=cancel_all, args=[one]) for one in publishers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(ended) == sorted(job_ids)
    assert here.faults(*(f"job{number}.json" for number in range(5))) == []


def test_a_bundle_that_was_dropped_again_is_taken_out_of_the_inbox_though_its_id_has_ended(idle: Place) -> None:
    job_id = dropped(idle, "again")
    assert idle.evald("cancel", "again").returncode == 0
    [set_aside] = (idle.home / "rejected").glob(f"*@{job_id}/again.json")
    set_aside.rename(idle.home / "inbox" / f"again.json@{job_id}")
    ran = idle.evald("cancel", "again", "--json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert list((idle.home / "inbox").iterdir()) == list((idle.home / "work").iterdir()) == []
    assert {job.state for job in idle.jobs().values()} == {"finished"}


def test_a_whole_sweep_is_cancelled_by_its_label_wherever_its_jobs_are(here: Place) -> None:
    daemon = here.start(REHEARSAL_S="60", LEASE_S="3", CLAIM_AHEAD="2")
    sweep = {"labels": {"sweep": "größe 42"}}
    here.drop("running", **sweep)
    wait_for(lambda: here.state("running") == "running", "the job to run")
    here.drop("other", labels={"sweep": "43"}, priority=9)
    here.drop("claimed", **sweep)
    wait_for(lambda: {here.state("other.json"), here.state("claimed.json")} == {"queued"}, "both to be claimed")
    (here.home / "pause").touch()
    here.drop("waiting", **sweep)
    with_id = here.home / "inbox" / f"chosen.json@{names.make_job_id()}"
    here.drop("chosen", **sweep)
    (here.home / "inbox" / "chosen.json").rename(with_id)
    (here.home / "inbox" / "packed.tar").write_bytes(b"")
    label = ("--label", "sweep=größe 42")
    shown = here.evald("cancel", *label, "--dry-run")
    assert shown.stdout.endswith("would cancel 4 jobs with the label sweep=größe 42\n")
    assert "no job yet" in shown.stdout
    assert "packed.tar" in shown.stderr
    assert here.state("running") == "running"
    ran = here.evald("cancel", *label, "--json")
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["left"], told["unread"], len(told["cancelled"])) == ([], ["packed.tar"], 4)
    ended = {job.job_id: job for job in here.jobs().values() if job.state.final}
    assert ended.keys() == set(told["cancelled"])
    assert told["cancelled"][-1] == here.jobs()["running"].job_id  # its slot would be another's of the sweep
    assert all((job.message or "").startswith("cancelled by") for job in ended.values())
    assert [path.name for path in (here.home / "inbox").iterdir()] == ["packed.tar"]
    assert here.state("other.json") == "queued"
    (here.home / "inbox" / "packed.tar").unlink()
    again = here.evald("cancel", *label)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout == "cancelled 0 jobs with the label sweep=größe 42\n"
    assert here.evald("cancel", "--label", "sweep=43").returncode == 0
    (here.home / "pause").unlink()
    files = ("running", "claimed.json", "waiting.json", "chosen.json", "other.json")
    wait_for(lambda: here.faults(*files) == [], "everything put away")
    assert daemon.stop() == 0


def test_a_job_that_is_cancelled_before_it_runs_keeps_its_labels(idle: Place) -> None:
    labels = {"team": "a", "größe": "42"}
    alone = dropped(idle, "alone", labels=labels)
    dropped(idle, "strange", labels={"team": "a", "number": 3})
    assert idle.evald("cancel", alone).returncode == 0
    assert idle.evald("cancel", "--label", "team=a").returncode == 0
    jobs = idle.jobs()
    assert jobs["alone.json"].labels == labels
    assert jobs["strange.json"].labels == {}  # such labels no contract may have
    told = result_of(idle.home, "alone.json")
    assert told is not None
    assert told["labels"] == labels


def test_a_whole_sweep_is_cancelled_in_few_transactions(here: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """At one after the other a thousand took two minutes."""
    sweep = {"labels": {"sweep": "1"}}
    with home_in(here.home) as home:
        claims = home.clerk(Owner.current()).publisher.claims
        for number in range(20):
            dropped(here, f"chosen{number}", **sweep)
        for number in range(20):
            job_id = dropped(here, f"claimed{number}", **sweep)
            home.repository.register(new_job(claims.claim(f"claimed{number}.json@{job_id}")))
        here.drop(*(f"plain{number}" for number in range(20)), **sweep)
        writes = []
        write = Database.write
        monkeypatch.setattr(Database, "write", lambda its: (writes.append(its), write(its))[1])
        ended = cancelled(home, Owner.current())
    expected = [f"{kind}{number}.json" for kind in ("chosen", "claimed", "plain") for number in range(20)]
    assert sorted(ended) == sorted(expected)
    assert len(writes) <= 10
    assert here.faults(*expected) == []


@pytest.mark.parametrize("happened", [True, False])
def test_a_sweep_whose_leases_a_database_does_not_confirm_stays_one_job_for_each_bundle(
    here: Place, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    """Whether it has granted them or not: asked again, it ends what is back in the inbox."""
    here.drop("one", "two", labels={"sweep": "1"})
    seize_many = Repository.seize_many

    def unheard(repository: Repository, *args: object) -> None:
        if happened:
            seize_many(repository, *args)  # type: ignore[arg-type]
        raise StorageUnavailable("server closed the connection unexpectedly")

    with home_in(here.home) as home:
        with monkeypatch.context() as patch, pytest.raises(StorageUnavailable):
            patch.setattr(Repository, "seize_many", unheard)
            cancelled(home, DEAD)
        assert {entry.partition("@")[0] for entry in home.entries("inbox")} == {"one.json", "two.json"}
        assert sorted(cancelled(home, Owner.current())) == ["one.json", "two.json"]
        assert sorted(job.name for job in home.history.jobs().jobs) == ["one.json", "two.json"]
        assert home.entries("work") == []
    assert here.faults("one.json", "two.json") == []


@pytest.mark.parametrize("happened", [True, False])
def test_what_is_cancelled_is_named_although_the_answer_of_the_database_is_lost(
    idle: Place, monkeypatch: pytest.MonkeyPatch, happened: bool
) -> None:
    chosen = dropped(idle, "chosen", labels={"sweep": "1"})
    idle.drop("one", "two", labels={"sweep": "1"})
    publish_many = Repository.publish_many
    lost = []

    def unheard(repository: Repository, ends: Iterable[tuple[Lease, Published]]) -> set[str]:
        if lost:
            return publish_many(repository, ends)
        lost.append(publish_many(repository, ends) if happened else None)
        raise StorageUnavailable("server closed the connection unexpectedly")

    monkeypatch.setattr(publishing, "_ASKED_AGAIN_S", (0.0,))
    monkeypatch.setattr(Repository, "publish_many", unheard)
    with home_in(idle.home) as home:
        assert sorted(cancelled(home, Owner.current())) == ["chosen.json", "one.json", "two.json"]
        again, lost[:] = dropped(idle, "again"), []
        ended = home.clerk(Owner.current()).publisher.cancel(again, "me")
        assert ended is not None
        assert ended.job_id == again
        assert home.entries("outbox") == home.entries("work") == []
        assert home.history.job(chosen) is not None
    assert idle.faults("chosen.json", "one.json", "two.json", "again.json") == []


@pytest.mark.parametrize("by_label", [True, False])
def test_who_cancels_many_is_told_what_ended_before_the_database_went_away(
    idle: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], by_label: bool
) -> None:
    first, second = (dropped(idle, name, labels={"sweep": "1"}) for name in ("a", "b"))
    publish_many = Repository.publish_many
    ended: list[str] = []

    def gone(repository: Repository, ends: Iterable[tuple[Lease, Published]]) -> set[str]:
        if ended:
            raise StorageUnavailable("the database is away")
        ended.extend(publish_many(repository, ends))
        return set(ended)

    monkeypatch.setattr(publishing, "_ASKED_AGAIN_S", ())
    monkeypatch.setattr(labelled, "_AT_ONCE", 1)
    monkeypatch.setattr(Repository, "publish_many", gone)
    which = ("--label", "sweep=1") if by_label else (first, second)
    assert failing.run(["cancel", "--home", str(idle.home), "--json", *which]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["cancelled"] == ended == [first]
    assert [error["error"] for error in told["errors"]] == ["the database is away"]
    ended.clear()
    third = dropped(idle, "c", labels={"sweep": "1"})
    assert failing.run(["cancel", "--home", str(idle.home), *(which if by_label else (third, second))]) == 2
    said = capsys.readouterr()
    assert f"{ended[0]}  cancelled" in said.out
    assert "the database is away" in said.err


def test_a_sweep_whose_claims_a_disk_does_not_confirm_is_cancelled_when_that_is_asked_again(
    idle: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same process, and with no daemon there: what it has not claimed durably lies in the inbox again."""
    chosen = dropped(idle, "chosen", labels={"sweep": "1"})
    idle.drop("one", labels={"sweep": "1"})
    fsync_dir = fsio.fsync_dir

    def fails(folder: Path) -> None:
        fsync_dir(folder)
        if folder == idle.home / "work":
            raise OSError(errno.EIO, "Input/output error")

    with home_in(idle.home) as home:
        with monkeypatch.context() as patch, pytest.raises(HarnessError, match="Input/output error"):
            patch.setattr(fsio, "fsync_dir", fails)
            cancelled(home, Owner.current())
        assert home.entries("inbox") == [f"chosen.json@{chosen}", "one.json"]
        assert sorted(cancelled(home, Owner.current())) == ["chosen.json", "one.json"]
        assert len(home.history.jobs().jobs) == 2
    assert idle.faults("chosen.json", "one.json") == []


def test_a_job_whose_lease_a_database_does_not_confirm_is_cancelled_when_that_is_asked_again(
    here: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_seized = Repository.register_seized

    def unheard(repository: Repository, *args: object) -> None:
        register_seized(repository, *args)  # type: ignore[arg-type]
        raise StorageUnavailable("server closed the connection unexpectedly")

    with home_in(here.home) as home:
        job_id = dropped(here, "one")
        with monkeypatch.context() as patch, pytest.raises(StorageUnavailable):
            patch.setattr(Repository, "register_seized", unheard)
            home.clerk(DEAD).publisher.cancel(job_id, "me")
        ended = home.clerk(Owner.current()).publisher.cancel(job_id, "me")
        assert ended is not None
        assert ended.job_id == job_id
        assert [job.job_id for job in home.history.jobs().jobs] == [job_id]
        assert home.entries("work") == []  # what lay there would be judged as another job
    assert here.faults("one.json") == []


@pytest.mark.parametrize(
    "step", ["claim.renamed", "lease.taken", "result.staged", "result.published", "result.released", "bundle.archived"]
)
def test_a_kill_while_a_sweep_is_cancelled_loses_none_of_it(idle: Place, step: str) -> None:
    """What was not ended by then is judged."""
    sweep = [f"one{number}" for number in range(12)]
    for name in sweep:
        dropped(idle, name, called=f"{name}.json", labels={"sweep": "1"})
    killed = idle.evald("cancel", "--label", "sweep=1", TEST_FAILPOINTS=f"{step}=1")
    assert killed.returncode == -9
    daemon = idle.start()
    wait_for(lambda: idle.faults(*(f"{name}.json" for name in sweep)) == [], "all to end")
    assert daemon.stop() == 0


@pytest.mark.parametrize(
    "argv",
    [(), ("--dry-run",), ("--dry-run", "one"), ("--label", "a=b", "one"), ("--label", "nonsense"), ("--label", "=b")],
)
def test_which_jobs_are_meant_is_said_in_one_way(here: Place, argv: tuple[str, ...]) -> None:
    ran = here.evald("cancel", *argv)
    assert ran.returncode == 2
    assert "--label" in ran.stderr
