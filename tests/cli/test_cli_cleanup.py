"""cleanup removes rows, result files and bundles of old jobs, and nothing else."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import silent_mount
from cli_homes import PastHome, bundle, passed, require_open_checkout, wrong
from conftest import Evald
from sqlalchemy import delete, update

from daemon import onemount, retention
from daemon.config import Settings
from daemon.db import repository_rows
from daemon.db.daemon_records import DaemonNote
from daemon.db.history import History
from daemon.db.models import Bundle, Daemon, Job
from daemon.intake.owner import Owner, WorkName

NOBODY = 65534
BOARD = (("anna", 1.0), ("ben", 2.0))


@pytest.fixture
def unprivileged(monkeypatch: pytest.MonkeyPatch) -> Iterator[PastHome]:
    """As `past`, while this process is not root: root may remove everything."""
    require_open_checkout()
    with tempfile.TemporaryDirectory(prefix="evald-test-", dir="/var/tmp") as name:
        as_root = os.geteuid() == 0
        if as_root:
            os.chown(name, NOBODY, NOBODY)
            os.setegid(NOBODY)
            os.seteuid(NOBODY)
        try:
            monkeypatch.chdir(name)
            made = PastHome(Settings(home=Path(name, "evald-home")))
            yield made
            made.database.close()
        finally:
            if as_root:
                os.seteuid(0)
                os.setegid(0)
            monkeypatch.undo()


def everything(past: PastHome) -> set[Path]:
    return {path for path in past.settings.paths.home.rglob("*") if "state" not in path.parts}


def test_a_dry_run_lists_and_removes_nothing(evald: Evald, past: PastHome) -> None:
    job_id = past.ended("old", wrong(), days_ago=60)
    before = everything(past)
    ran = evald("cleanup", "--dry-run")
    assert f"old@{job_id}" in ran.out
    assert "would remove 1 job (1 cases) and 2 files" in ran.out
    told = evald("cleanup", "--dry-run", "--json").document()
    assert told["job_ids"] == [job_id]
    assert told["dry_run"] is True
    assert all(Path(file).exists() for file in told["files"])
    assert everything(past) == before


def test_a_name_in_the_list_has_one_line_and_drives_no_terminal(evald: Evald, past: PastHome) -> None:
    job_id = past.ended("old\n\x1b[2Jname", wrong(), days_ago=60)
    assert f"/old\\n\\x1b[2Jname@{job_id}\n" in evald("cleanup", "--dry-run").out


def test_what_a_killed_client_left_in_the_inbox_goes_after_a_day(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = past.settings.paths.inbox
    draft, mine = inbox / ".evald-0123.tmp", inbox / ".mine.tmp"
    (draft / "sub").mkdir(parents=True)
    mine.touch()
    assert "0 files" in evald("cleanup", "--older-than", "0s").out
    assert draft.exists()
    monkeypatch.setattr(retention, "_SHOWN", timedelta(0))
    assert str(draft) in evald("cleanup", "--older-than", "0s", "--dry-run").out
    assert "1 file" in evald("cleanup", "--older-than", "0s").out
    assert (draft.exists(), mine.exists()) == (False, True)


def test_old_jobs_go_with_their_files_and_the_rest_stays(evald: Evald, past: PastHome) -> None:
    paths = past.settings.paths
    old = past.ended("old", wrong(), days_ago=60)
    best = past.ended("best", passed(), days_ago=60)
    fresh = past.ended("fresh", wrong())
    waiting = past.queued("waiting")
    busy = past.leased("busy").job_id
    bundle(paths.inbox / f"dropped@{old}")

    told = evald("cleanup", "--json").document()

    assert told["job_ids"] == [old]
    assert told["kept_best"] == 1
    left = {path.name for path in everything(past)}
    assert {fresh, best, f"fresh@{fresh}", f"best@{best}", f"dropped@{old}"} <= left
    assert not {old, f"old@{old}"} & left
    assert not (paths.results / "by-name" / "old").is_symlink()
    assert (paths.results / "by-name" / "fresh").exists()
    for job_id in (best, fresh, waiting, busy):
        assert evald("status", job_id).code == 0
    assert evald("show", old, "--json").document()["job"] is None, "what is told is the bundle in the inbox"


def test_a_staged_result_goes_with_its_job_and_no_other_does(evald: Evald, past: PastHome) -> None:
    """As a daemon leaves them that was killed before it released them."""
    paths = past.settings.paths
    old, fresh = past.ended("old", wrong(), days_ago=60), past.ended("fresh", wrong())
    for job_id in (old, fresh):
        [released] = paths.results.glob(f"[0-9]*/{job_id}")
        released.rename(paths.outbox / f"{job_id}.1")
    assert evald("cleanup", "--json").document()["job_ids"] == [old]
    assert [entry.name for entry in paths.outbox.iterdir()] == [f"{fresh}.1"]


def test_what_a_living_daemon_is_about_to_put_away_stays_and_what_a_dead_one_left_goes(
    evald: Evald, past: PastHome
) -> None:
    paths, here = past.settings.paths, Owner.current()
    dead = replace(here, pid=2**22 + 1)
    ids = {name: past.ended(name, wrong(), days_ago=60) for name in ("plain", "held", "left")}
    for name, owner in (("held", here), ("left", dead)):
        work_name = WorkName(name, own_id=False, owner=owner, job_id=ids[name]).text
        (paths.archive / f"{name}@{ids[name]}").rename(paths.work / work_name)
    (paths.work / "strange").touch()
    before, going = everything(past), {ids["plain"], ids["left"]}
    for _ in range(2):
        assert set(evald("cleanup", "--dry-run", "--json").document()["job_ids"]) == going
        assert everything(past) == before
    assert set(evald("cleanup", "--json").document()["job_ids"]) == going
    assert evald("status", ids["held"]).code == 0
    assert {path.name for path in paths.results.glob("[0-9]*/*")} == {ids["held"]}


def test_the_best_of_everybody_who_sends_over_http_stays(evald: Evald, past: PastHome) -> None:
    """For the file system they are one user; with a bundle that is about to be put away as well."""
    server_uid = past.settings.paths.work.stat().st_uid
    (past.settings.paths.state / "tokens").write_text("".join(f"{name} user {'0' * 64}\n" for name in ("anna", "ben")))
    old = {name: past.ended("one", passed(ms), days_ago=60, uid=server_uid, caller=name) for name, ms in BOARD}
    slow = past.ended("one", passed(9.0), days_ago=60, uid=server_uid, caller="ben")
    held = past.ended("held", wrong(), days_ago=60)
    work_name = WorkName("held", own_id=False, owner=Owner.current(), job_id=held).text
    for _ in range(2):
        told = evald("cleanup", "--dry-run", "--json").document()
        assert (set(told["job_ids"]) - {held}, told["kept_best"]) == ({slow}, 2)
        (past.settings.paths.work / work_name).mkdir(exist_ok=True)
    assert evald("cleanup", "--json").document()["job_ids"] == [slow]
    for job_id in old.values():
        assert evald("status", job_id).code == 0


def test_a_users_name_leads_to_the_newest_that_is_left_of_his(evald: Evald, past: PastHome) -> None:
    mine = past.ended("one", passed(), days_ago=60, uid=1000)
    past.ended("one", wrong(), days_ago=50, uid=1000)
    theirs = past.ended("one", wrong(), days_ago=1, uid=1001)
    evald("cleanup")
    results = past.settings.paths.results
    assert [(results / "by-user" / uid / "one").resolve().name for uid in ("1000", "1001")] == [mine, theirs]
    assert (results / "by-name" / "one").resolve().name == theirs


def test_daemons_that_stopped_or_fell_silent_long_ago_are_forgotten(evald: Evald, past: PastHome) -> None:
    for host in ("alive", "silent", "stopped", "lately"):
        past.daemons.report(DaemonNote(f"{host}-boot-1", host, 1, "0", 1, "/srv/inbox", 60))
    for host in ("stopped", "lately"):
        past.daemons.mark_stopped(f"{host}-boot-1")
    long_ago = datetime.now(UTC) - timedelta(days=2)
    with past.database.write() as connection:
        connection.execute(update(Daemon).where(Daemon.host.in_(("silent", "stopped"))).values(seen_at=long_ago))

    def hosts() -> list[str]:
        return sorted(daemon.host for daemon in History(past.database).daemons())

    evald("cleanup", "--dry-run")
    assert hosts() == ["alive", "lately", "silent", "stopped"]
    evald("cleanup")
    assert hosts() == ["alive", "lately"]


def forget(past: PastHome, *job_ids: str) -> None:
    """As a database that was restored from an older copy."""
    with past.database.write() as connection:
        connection.execute(delete(Job).where(Job.id.in_(job_ids)))
        connection.execute(delete(Bundle).where(Bundle.id.in_(job_ids)))
    for job_id in job_ids:
        [result] = past.settings.paths.results.glob(f"[0-9]*/{job_id}/result.json")
        finished_at = datetime.fromisoformat(json.loads(result.read_text("utf-8"))["finished_at"])
        os.utime(result, (0, finished_at.timestamp()))


def test_results_of_jobs_that_the_database_does_not_know_are_told_and_go_by_their_age_where_it_is_asked_for(
    evald: Evald, past: PastHome
) -> None:
    paths = past.settings.paths
    old, waits = (past.ended(name, passed(), days_ago=60) for name in ("old", "w"))
    fresh = past.ended("fresh", passed())
    forget(past, old, fresh, waits)
    (paths.archive / f"w@{waits}").rename(paths.inbox / f"w@{waits}")
    before = everything(past)
    assert evald("cleanup", "--forgotten", "--json").document()["forgotten"] == 0  # whose this inbox is is not known
    paths.database_id.write_text(History(past.database).database_id(), "utf-8")
    before.add(paths.database_id)

    ran = evald("cleanup")
    assert "1 result is as old, of jobs that the database does not know; --forgotten" in ran.err
    told = evald("cleanup", "--forgotten", "--dry-run", "--json").document()
    assert (told["forgotten"], {Path(file).name for file in told["files"]}) == (1, {old, f"old@{old}"})
    assert everything(past) == before

    ran = evald("cleanup", "--forgotten")
    assert ("2 files and folders" in ran.out, ran.err) == (True, "")
    left = {path.name for path in everything(past)}
    assert not {old, f"old@{old}"} & left
    assert {fresh, f"fresh@{fresh}", waits, f"w@{waits}"} <= left
    assert not (paths.results / "by-name" / "old").is_symlink()


def test_a_name_stays_as_long_as_a_result_of_it_does(evald: Evald, past: PastHome) -> None:
    best = past.ended("one", passed(), days_ago=60)
    past.ended("one", wrong(), days_ago=50)
    evald("cleanup")
    names = [past.settings.paths.results / "by-name", *(past.settings.paths.results / "by-user").iterdir()]
    assert [(folder / "one").resolve().name for folder in names] == [best, best]


def test_keep_best_zero_keeps_nothing_old(evald: Evald, past: PastHome) -> None:
    past.ended("best", passed(), days_ago=60)
    ran = evald("cleanup", "--keep-best", 0, "--older-than", "4w")
    assert "removed 1 job" in ran.out
    assert evald("stats", "--json").document()["groups"] == []


def test_what_cannot_be_removed_is_told_and_holds_up_no_other_job(evald: Evald, unprivileged: PastHome) -> None:
    past = unprivileged
    ids = [past.ended(name, wrong(), days_ago=60) for name in ("a", "stuck", "z")]
    paths = past.settings.paths
    inner = paths.archive / f"stuck@{ids[1]}" / "src"
    inner.mkdir()
    (inner / "kernel.py").touch()
    inner.chmod(0o555)  # as if it were another user's

    ran = evald("cleanup", "--json")

    told = ran.document()
    assert ran.code == 2
    assert sorted(told["job_ids"]) == sorted([ids[0], ids[2]])
    assert told["not_removed"] == [{"file": str(inner.parent), "reason": "Permission denied"}]
    assert len(told["files"]) == 5, "its result folder went"
    assert {entry.name for entry in paths.archive.iterdir()} == {inner.parent.name}

    again = evald("cleanup")
    assert again.code == 2
    assert "removed 0 jobs" in again.out
    assert f"{inner.parent}: Permission denied" in again.err
    assert f"rm -r {inner.parent}" in again.err

    for folder in inner.parent.iterdir():
        folder.chmod(0o755)
    assert evald("cleanup", "--json").document()["job_ids"] == [ids[1]]


def test_a_bundle_into_which_its_sender_has_mounted_something_stays_and_holds_up_no_other_job(
    evald: Evald, past: PastHome
) -> None:
    paths = past.settings.paths
    ids = [past.ended(name, wrong(), days_ago=60) for name in ("a", "mounted", "z")]
    bundle = paths.archive / f"mounted@{ids[1]}"
    with silent_mount.mounted(bundle / "silent"):
        told = evald("cleanup", "--json").document()
        assert told["not_removed"] == [{"file": str(bundle), "reason": onemount.MOUNTED}]
        assert sorted(told["job_ids"]) == sorted((ids[0], ids[2]))


def test_jobs_that_were_given_back_long_ago_go_unless_their_bundle_waits_under_their_id(
    evald: Evald, past: PastHome
) -> None:
    paths = past.settings.paths
    plain, named, claimed, fresh = [past.withdrawn(name) for name in ("plain", "named", "claimed", "fresh")]
    bundle(paths.inbox / "plain")
    bundle(paths.inbox / f"named@{named}")
    bundle(paths.work / f"claimed@host-boot-1-{claimed}")
    for job_id in (plain, named, claimed):
        past.age(job_id, days=60)
    before = everything(past)

    assert evald("cleanup", "--dry-run", "--json").document()["job_ids"] == [plain]
    assert evald("cleanup", "--json").document()["job_ids"] == [plain]

    assert everything(past) == before
    assert evald("show", plain).code == 2
    for job_id in (named, claimed, fresh):
        assert evald("status", job_id).code == 0


def test_a_job_made_long_ago_and_given_back_lately_stays(evald: Evald, past: PastHome) -> None:
    job_id = past.withdrawn("old")
    past.age(job_id, days=60)
    with past.database.write() as connection:
        repository_rows.note(connection, job_id, "withdrawn")
    assert evald("cleanup", "--json").document()["job_ids"] == []


def test_a_cleanup_that_was_killed_after_the_files_is_finished_by_the_next(evald: Evald, past: PastHome) -> None:
    job_id = past.ended("old", wrong(), days_ago=60)
    for file in evald("cleanup", "--dry-run", "--json").document()["files"]:
        Path(file).rename(past.settings.paths.state / Path(file).name)
    assert evald("cleanup", "--json").document()["job_ids"] == [job_id]
    assert evald("cleanup", "--json").document()["job_ids"] == []
