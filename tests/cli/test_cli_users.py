"""Commands of users who may not look everywhere, and of those whom the system does not know."""

from __future__ import annotations

import importlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_homes import TORCH_PAIR, bundle, require_open_checkout
from conftest import Evald

from daemon import obstacles
from daemon.cli import checks, failing
from daemon.cli.check import Status
from daemon.cli.eval import _settings_for
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote
from daemon.db.repository_daemons import DaemonRepository
from daemon.intake.owner import Owner

NOBODY = 65534


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home as the packages make it: an inbox for everybody, a state for nobody else."""
    home = Path(tempfile.mkdtemp(prefix="evald-test-"))
    settings = Settings(home=home)
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    home.chmod(0o755)
    settings.paths.inbox.chmod(0o1777)
    monkeypatch.chdir(home)
    yield home
    settings.paths.state.chmod(0o700)
    shutil.rmtree(home)


@contextmanager
def somebody_else(home: Path) -> Iterator[None]:
    """This process may not enter the state meanwhile, nor perhaps the folder that Python itself lies in."""
    require_open_checkout()
    for late in ("daemon.intake.archive", "encodings.utf_8_sig"):  # what commands import when they come to it
        importlib.import_module(late)
    state = home / "state"
    if os.geteuid() != 0:
        state.chmod(0)
        yield
        return
    state.chmod(0o700)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_whoever_may_write_into_the_inbox_may_submit(evald: Evald, served: Path) -> None:
    made = bundle(served / "mine")
    for path in (made, *made.rglob("*")):  # whatever our umask is
        path.chmod(0o755)

    def commands() -> list[int]:
        return [
            evald(name, "--home", served, *rest).code
            for name, *rest in (("submit", made), ("validate", made), ("config",))
        ]

    assert commands() == [0, 0, 0]
    with somebody_else(served):
        assert commands() == [0, 0, 0]
    assert [path.name.partition("@")[0] for path in (served / "inbox").iterdir()] == ["mine", "mine"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_whose_files_a_bundle_is_made_of_is_no_matter_once_they_are_copied(evald: Evald, served: Path) -> None:
    made = bundle(served / "mine")
    (made / "notes.txt").write_text("of root's")
    (made / "notes.txt").chmod(0o600)
    os.chown(made, NOBODY, NOBODY)
    assert evald("submit", made, "--home", served).code == 0


@pytest.mark.parametrize("command", ["status", "stats", "cleanup", "drain here", "show x", "cancel x"])
def test_whoever_may_not_look_into_the_state_is_told_whom_to_ask(evald: Evald, served: Path, command: str) -> None:
    evald(*command.split(), "--home", served)
    with somebody_else(served):
        refused = evald(*command.split(), "--home", served)
    assert refused.code == 2
    assert "evald.sqlite3: Permission denied" in refused.err
    assert "over HTTP" in refused.err


def test_a_home_of_a_user_whom_nobody_knows_is_no_traceback(evald: Evald) -> None:
    for args in (("--home", "~nobody-of-this-name/x", "status"), ("eval", "~nobody-of-this-name/x")):
        refused = evald(*args)
        assert refused.code == 2
        assert "~nobody-of-this-name/x: whose home folder" in refused.err


def test_a_home_that_is_no_text_is_no_traceback(evald: Evald) -> None:
    refused = evald("--home", os.fsdecode(b"caf\xe9"), "status")
    assert refused.code == 2
    assert "is not UTF-8 here" in refused.err


@pytest.mark.parametrize("as_json", [True, False])
def test_a_fault_of_evald_has_an_exit_code_that_is_no_verdict(
    evald: Evald, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    def broken(_args: list[str]) -> object:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(failing, "_call", broken)
    ran = evald("status", *(["--json"] if as_json else []))
    assert ran.code == 70
    assert "Traceback" in ran.err
    told = ran.document()["error"] if as_json else ran.err
    assert "a fault of evald itself: ZeroDivisionError: oops" in told
    assert "evald version" in (ran.document()["hint"] if as_json else ran.err)


def test_without_memory_it_says_where_to_look_and_may_be_tried_again(
    evald: Evald, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(_args: list[str]) -> object:
        raise MemoryError

    monkeypatch.setattr(failing, "_call", without)
    ran = evald("status")
    assert (ran.code, "Traceback" in ran.err) == (75, False)
    assert "not enough memory" in ran.err
    assert "ulimit -d" in ran.err


@pytest.mark.parametrize(
    ("absent", "code", "words"),
    [
        ("sqlalchemy", 2, "this command needs sqlalchemy, a package of Python that is not installed"),
        ("daemon.migrations", 2, "evald is not installed, only found in "),
        ("daemon.db.history", 70, "a fault of evald itself"),
    ],
)
def test_who_has_not_all_of_evald_is_told_how_to_have_the_rest(
    evald: Evald, monkeypatch: pytest.MonkeyPatch, absent: str, code: int, words: str
) -> None:
    def without(_args: list[str]) -> object:
        raise ModuleNotFoundError(f"No module named '{absent}'", name=absent)

    monkeypatch.setattr(failing, "_call", without)
    ran = evald("status")
    assert ran.code == code
    assert words in ran.err
    if code == 2:
        assert f"{shlex.quote(sys.executable)} -m pip install " in ran.err
        assert "Traceback" not in ran.err


def test_without_click_there_is_no_command_line_and_no_traceback() -> None:
    code = "import sys; sys.modules['click'] = None; from daemon.cli import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert "the command line needs click" in ran.stderr
    assert f"{shlex.quote(sys.executable)} -m pip install " in ran.stderr


def test_a_bundle_is_judged_by_whoever_may_not_look_into_the_state(served: Path) -> None:
    settings = Settings(home=served)
    with somebody_else(served):
        mine = _settings_for(settings, served / "mine")
    assert mine.paths.state == served / "mine" / "state"


def test_a_bundle_that_is_alone_has_nobody_compile_ahead_and_no_control(tmp_path: Path) -> None:
    alone = _settings_for(Settings(home=tmp_path, ahead=2), tmp_path / "mine")
    assert (alone.ahead, alone.control_interval_s) == (0, 0)


def test_whoever_may_not_submit_is_not_sent_to_look_for_room(evald: Evald, served: Path) -> None:
    made = bundle(served / "mine")
    single = served / "one.json"
    single.write_text(json.dumps(TORCH_PAIR))
    (served / "inbox").chmod(0o555)
    for path in (made, *made.rglob("*"), single):
        path.chmod(0o755)
    with somebody_else(served):
        refused = evald("submit", made, single, "--home", served)
    assert refused.code == 2
    assert refused.err.count("this user may not write to the inbox") == 2
    assert "ls -ld" in refused.err
    assert "full" not in refused.err


@pytest.mark.parametrize("command", [["token"], ["token", "ci"]])
def test_tokens_are_for_the_user_that_evald_serve_runs_as(evald: Evald, served: Path, command: list[str]) -> None:
    evald(*command, "--home", served)
    with somebody_else(served):
        refused = evald(*command, "--home", served)
    assert refused.code == 2
    assert refused.err.count(str(served / "state")) == 1
    assert "for the user that the server runs as" in refused.err


@contextmanager
def its_user(home: Path, closed: Path) -> Iterator[None]:
    """This process is the user of the daemon meanwhile, and may not write into `closed`."""
    closed.chmod(0o555)
    as_root = os.geteuid() == 0
    if as_root:
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if as_root:
            os.seteuid(0)
        closed.chmod(0o755)


@pytest.mark.parametrize("folder", ["work", "outbox", "jobs"])
def test_a_folder_that_takes_nothing_from_its_daemon_is_told_before_the_first_write(served: Path, folder: str) -> None:
    settings = Settings(home=served, min_free_bytes=1)
    closed: Path = getattr(settings.paths, folder)
    with its_user(served, closed):
        told, checked = obstacles.obstacle(settings), checks._home(settings)
    assert told is not None
    assert str(closed) in told
    assert (checked.status, str(closed) in checked.message) == (Status.FAIL, True)


@pytest.mark.parametrize(
    "folder", ["archive", "rejected", "quarantine", "results", "results/by-name", "results/2026-11"]
)
def test_a_folder_that_takes_nothing_of_what_was_judged_is_told_although_bundles_are_claimed(
    evald: Evald, served: Path, folder: str
) -> None:
    settings = Settings(home=served)
    closed = served / folder
    closed.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database_url)
    DaemonRepository(database).report(
        DaemonNote("a-boot-1", Owner.current().host, 1, "0", 1, str(settings.paths.inbox), 60, ())
    )
    database.close()
    only = ("--home", served, "--set", "min_free_bytes=1")
    assert evald("health", *only).code == 0
    with its_user(served, closed):
        health, status, checked = evald("health", *only), evald("status", *only), checks._home(settings)
        document = evald("status", "--json", *only).document()
    assert health.code == 1
    stays = "results stay in" if "results" in folder else "judged bundles stay in"
    assert health.out.startswith(stays)
    assert f"may not write into {closed}" in health.out
    assert "no new bundle is claimed" not in health.out
    assert f"stays  {health.out}" in status.out
    assert (document["hindrance"], document["backlog"]) == (None, health.out.strip())
    assert (checked.status, str(closed) in checked.message) == (Status.FAIL, True)


def test_results_that_the_database_does_not_take_are_told_although_it_answers(evald: Evald, served: Path) -> None:
    settings = Settings(home=served)
    database = Database(settings.database_url)
    DaemonRepository(database).report(
        DaemonNote("a-boot-1", Owner.current().host, 1, "0", 1, str(settings.paths.inbox), 60, ())
    )
    database.close()
    only = ("--home", served, "--set", "min_free_bytes=1")
    waiting = settings.paths.outbox / f"{'a' * 32}.1"
    waiting.mkdir()
    (waiting / "result.json").write_text("{}")
    assert evald("health", *only).code == 0
    os.utime(waiting, (0, 0))
    health = evald("health", *only)
    assert health.code == 1
    assert health.out.startswith("1 result of more than 2 min ago")
    assert "evald doctor" in health.out
    assert f"stays  {health.out}" in evald("status", *only).out


def test_doctor_tells_a_user_whose_evald_it_is_not_which_folders_are_closed(served: Path) -> None:
    settings = Settings(home=served)
    with somebody_else(served):
        checked = checks._home(settings)
    assert (checked.status, str(settings.paths.state) in checked.message) == (Status.FAIL, True)


def test_doctor_says_of_a_home_that_is_not_there_whether_this_user_may_make_it(served: Path) -> None:
    """It was fine, and `evald run` ended with "Permission denied"."""
    place = served / "closed"
    place.mkdir(mode=0o755)
    settings = Settings(home=place / "by-hand" / "home")
    assert checks._home(settings).status is Status.OK
    if os.geteuid() != 0:
        place.chmod(0o555)
    with somebody_else(served):
        checked = checks._home(settings)
    assert (checked.status, f"may not make it in {place}" in checked.message) == (Status.FAIL, True)
