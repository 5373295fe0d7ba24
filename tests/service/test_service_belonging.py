"""An inbox belongs to one database: whose daemon comes first owns it, and a person can give it to another."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from postgres_server import PostgresServer

from daemon import belonging, fsio, log, opening
from daemon.config import Settings
from daemon.db.connection import Database
from daemon.db.records import NewJob
from daemon.db.repository import Repository
from daemon.errors import HarnessError, OperatorError
from daemon.intake.names import make_job_id
from daemon.listener import Silence
from daemon.mounts import Mount
from daemon.paths import Paths

ONE, OTHER = "1" * 32, "2" * 32


def test_a_call_that_fails_without_naming_a_file_while_a_home_is_opened_says_what_was_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a file that is open, say: what the system has to tell is "Stale file handle" and no more."""

    def stale(*_: object) -> bool:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    settings = Settings(home=tmp_path / "home", engine="rehearsal")
    monkeypatch.setattr(belonging, "_is_ours", stale)
    with pytest.raises(HarnessError, match=f"cannot open the home {settings.home}: Stale") as told:
        opening.opened(settings).__enter__()
    assert f"findmnt -T {settings.home}" in str(told.value.hint)


def test_the_first_database_owns_the_inbox_and_another_is_refused_with_what_to_type(paths: Paths) -> None:
    for _ in range(2):
        belonging.require_own(paths, ONE, "sqlite:///one")
    with pytest.raises(OperatorError, match="belongs to another database") as refused:
        belonging.require_own(paths, OTHER, "sqlite:///other")
    assert all(text in refused.value.message for text in (ONE, OTHER, "sqlite:///other"))
    assert f"rm {paths.database_id}" in str(refused.value.hint)
    paths.database_id.unlink()
    belonging.require_own(paths, OTHER, "sqlite:///other")
    assert paths.database_id.read_text() == f"{OTHER}\n"


def test_two_hosts_that_share_the_inbox_and_not_the_state_are_told(paths: Paths, tmp_path: Path) -> None:
    elsewhere = Paths(tmp_path / "b", paths.inbox, paths.results, tmp_path / "b" / "state")
    belonging.require_own(paths, ONE, "one")
    belonging.require_own(elsewhere, ONE, "the same, on a server")
    with pytest.raises(OperatorError, match="belongs to another database"):
        belonging.require_own(elsewhere, OTHER, "other")


def test_of_many_databases_at_once_one_owns_the_inbox(paths: Paths) -> None:
    def owns(number: int) -> bool:
        try:
            belonging.require_own(paths, f"{number % 8:032x}", "one of eight")
        except OperatorError:
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(owns, range(64)))
    assert answers == [number % 8 == int(paths.database_id.read_text(), 16) for number in range(64)]
    assert list(paths.inbox.parent.glob(".*.tmp")) == []


@pytest.mark.parametrize("torn", ["", "\0" * 32, "not an id"])
def test_a_file_that_names_no_database_is_no_permission(paths: Paths, torn: str) -> None:
    paths.database_id.write_text(torn)
    with pytest.raises(OperatorError, match="belongs to another database"):
        belonging.require_own(paths, ONE, "one")


@pytest.mark.parametrize("refusal", [errno.EROFS, errno.EACCES, errno.EOPNOTSUPP])
def test_where_nothing_can_be_written_beside_the_inbox_evald_judges_all_the_same(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fsio, "write_new", refuse)
    belonging.require_own(paths, ONE, "one")
    assert not paths.database_id.exists()


def test_a_full_disk_is_no_permission(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(fsio, "write_new", full)
    with pytest.raises(OSError, match="full"):
        belonging.require_own(paths, ONE, "one")


@pytest.mark.parametrize("kind", ["nfs4", "ext4"])
def test_a_daemon_compares_where_other_hosts_may_share_the_inbox(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "mount_of", lambda _: Mount("/", kind, frozenset()))
    here, elsewhere = (
        Settings(home=tmp_path / "home", state=tmp_path / name, engine="rehearsal") for name in ("here", "elsewhere")
    )
    with opening.opened(here, Silence()):
        pass
    if kind == "ext4":
        with opening.opened(elsewhere, Silence()):
            return
    with (
        pytest.raises(OperatorError, match="belongs to another database"),
        opening.opened(elsewhere, Silence()),
    ):
        pytest.fail("it started")


def test_on_a_disk_of_its_own_an_inbox_is_that_of_the_database_whose_daemons_are_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "mount_of", lambda _: Mount("/", "ext4", frozenset()))
    here, elsewhere = (
        Settings(home=tmp_path / "home", state=tmp_path / name, engine="rehearsal") for name in ("here", "elsewhere")
    )
    for _ in range(2):  # it may change hands as often as one likes
        with opening.opened(here, Silence()), opening.opened(here, Silence()):
            with (
                pytest.raises(OperatorError, match="another database are at work") as refused,
                opening.opened(elsewhere, Silence()),
            ):
                pytest.fail("it started")
            assert "stop them first" in str(refused.value.hint)
        with opening.opened(elsewhere, Silence()):
            pass


def test_of_many_databases_at_once_one_has_the_inbox(paths: Paths) -> None:
    both = threading.Barrier(8)

    def have(number: int) -> bool:
        try:
            with belonging.held(paths, f"{number % 2:032x}", "one of two"):
                both.wait(120)  # all have tried
                return True
        except OperatorError:
            both.wait(120)
            return False

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(have, range(8)))
    owner = int(paths.database_id.read_text(), 16)
    assert answers == [number % 2 == owner for number in range(8)]


@pytest.mark.parametrize("refusal", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_nothing_can_be_locked_evald_judges_all_the_same(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, refusal: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(refusal, os.strerror(refusal))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with belonging.held(paths, ONE, "one"), belonging.held(paths, OTHER, "other"):
        pass


def test_a_folder_that_takes_no_file_guards_nothing(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(os, "open", refuse)
    with belonging.held(paths, ONE, "one"):
        assert not paths.database_id.exists()


def test_a_file_of_another_user_is_locked_all_the_same(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.database_id.write_text(f"{ONE}\n")
    true_open = os.open

    def refuse(place: object, flags: int, *mode: int) -> int:
        if flags & os.O_RDWR:
            raise PermissionError(errno.EACCES, "not yours")
        return true_open(str(place), flags, *mode)

    monkeypatch.setattr(os, "open", refuse)
    with (
        belonging.held(paths, ONE, "one"),
        belonging.held(paths, ONE, "one"),
        pytest.raises(OperatorError, match="are at work on this inbox"),
        belonging.held(paths, OTHER, "other"),
    ):
        pytest.fail("it was let in")
    # Nobody is there, and who that is now cannot be written: nothing is guarded.
    with belonging.held(paths, OTHER, "other"), belonging.held(paths, OTHER, "other"):
        assert paths.database_id.read_text() == f"{ONE}\n"


def test_a_new_database_beside_old_results_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, postgres: PostgresServer
) -> None:
    settings = Settings(home=tmp_path / "home", engine="rehearsal")
    before = log.LOGGER.propagate
    log.LOGGER.propagate = True

    def is_told() -> bool:
        caplog.clear()
        with caplog.at_level("INFO", log.LOGGER.name), opening.opened(settings):
            return "the database is new" in caplog.text

    try:
        assert not is_told()
        (settings.paths.results / "2026-11").mkdir()
        assert not is_told(), "a cleanup has left nothing else"
        (settings.paths.results / "2026-11" / make_job_id()).mkdir()
        assert is_told()
        database = Database(settings.database_url)
        Repository(database).register(NewJob(make_job_id(), "a", "a@b", 1000, datetime.now(UTC), 10))
        database.close()
        assert not is_told(), "it has a past of its own"
        for file in settings.paths.state.glob("evald.sqlite3*"):
            file.unlink()
        (settings.paths.state / "evald.sqlite3").touch()
        assert is_told(), "it was removed, or what is left of it is empty"
        settings = Settings(home=tmp_path / "home", engine="rehearsal", database=postgres.create_database())
        assert is_told(), "a server that has not heard of it"
    finally:
        log.LOGGER.propagate = before


def test_a_daemon_whose_inbox_is_not_mounted_waits_for_it_and_no_job_loses_an_attempt(tmp_path: Path) -> None:
    share, elsewhere = tmp_path / "share", tmp_path / "mounted elsewhere"
    settings = Settings(home=share / "evald", state=tmp_path / "state", engine="rehearsal")
    with opening.opened(settings):
        pass
    database = Database(settings.database_url)
    job_id = make_job_id()
    Repository(database).register(NewJob(job_id, "a", f"a@gpu1-boot-1-{job_id}", 1000, datetime.now(UTC), 10))
    (settings.paths.work / f"a@gpu1-boot-1-{job_id}").write_text("{}")
    share.rename(elsewhere)
    share.mkdir()
    with (
        pytest.raises(HarnessError, match="1 unfinished job, and nothing") as refused,
        opening.opened(settings),
    ):
        pytest.fail("it started")
    shutil.rmtree(share)
    elsewhere.rename(share)
    with opening.opened(settings):
        pass

    shutil.rmtree(share)
    with pytest.raises(HarnessError, match="may not be mounted"), opening.opened(settings):
        pytest.fail("it started")
    typed = str(refused.value.hint).rpartition("type: ")[2]
    subprocess.run(["sh", "-c", typed], check=True)
    with opening.opened(settings):
        pass
    assert Repository(database).lease(job_id, "me", 30).attempt == 1
    database.close()


def test_a_database_that_was_restored_to_a_new_home_finds_its_bundles_missing_and_starts(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", engine="rehearsal")
    with opening.opened(settings):
        pass
    database = Database(settings.database_url)
    Repository(database).register(NewJob(make_job_id(), "a", "a@b", 1000, datetime.now(UTC), 10))
    database.close()
    restored = Settings(home=tmp_path / "restored", engine="rehearsal")
    restored.paths.create()
    shutil.copy(settings.paths.state / "evald.sqlite3", restored.paths.state)
    with opening.opened(restored):
        pass
