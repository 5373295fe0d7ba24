"""What the operating system refuses: every message says what to type or to name instead, and none sends in a circle."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_homes import PastHome, bundle
from conftest import Evald

from daemon.cli import checks, failing, refused
from daemon.cli.check import Status
from daemon.config import Settings
from daemon.errors import HarnessError

NOBODY = 65534


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that nobody may enter."""
    folder = Path(tempfile.mkdtemp(prefix="evald-test-"))
    folder.chmod(0)
    as_root = os.geteuid() == 0
    if as_root:
        os.seteuid(NOBODY)
    yield folder
    if as_root:
        os.seteuid(0)
    folder.chmod(0o700)
    shutil.rmtree(folder)


@pytest.mark.parametrize("command", ["status", "config", "health", "submit x", "cleanup", "show x"])
def test_a_home_that_is_closed_names_the_folder_that_is_and_no_command_that_fails_like_it(
    evald: Evald, closed: Path, command: str
) -> None:
    ran = evald("--home", closed / "below" / "home", *command.split())
    assert ran.code == 2
    assert f"ls -ld {closed} " in ran.err
    assert "--home DIR" in ran.err
    assert "evald" not in ran.err.replace(str(closed), "").split("\n")[1].replace("another evald", "")


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x"])
def test_a_bundle_that_cannot_be_made_there_can_be_made_elsewhere(evald: Evald, place: str) -> None:
    ran = evald("new", "torch", place)
    assert ran.code == 2
    assert f"no folder can be made at {place}" in ran.err
    assert "evald new torch ~/x" in ran.err


def test_a_bundle_is_not_made_where_this_user_may_not_write(evald: Evald, closed: Path) -> None:
    ran = evald("new", "torch", closed / "x")
    assert ran.code == 2
    assert "Permission denied" in ran.err
    assert "evald new torch ~/x" in ran.err


def test_a_name_that_is_too_long_is_told_so(evald: Evald) -> None:
    assert "choose a shorter name" in evald("new", "torch", "x" * 300).err


def test_a_home_below_a_file_says_which_file(evald: Evald, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for home, command in ((file, "submit x"), (file / "below", "status"), (file / "below", "submit x")):
        ran = evald("--home", home, *command.split())
        assert ran.code == 2
        assert f"{file} is a file" in ran.err


def test_what_stands_where_a_folder_is_wanted_is_told(evald: Evald, tmp_path: Path) -> None:
    """A folder moved to a file server and linked back was only called "File exists" when that was not mounted, and
    `evald doctor` found nothing wrong."""
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "inbox").symlink_to(tmp_path / "server" / "inbox")
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "inbox").touch()
    for home, words in (
        ("moved", f"is a link to {tmp_path}/server/inbox, which is not there"),
        ("blocked", "is a file"),
    ):
        assert f"{tmp_path}/{home}/inbox {words}" in evald("--home", tmp_path / home, "sweep").err
        checked = checks._home(Settings(home=tmp_path / home))
        assert (checked.status, words in checked.message) == (Status.FAIL, True)


def test_a_home_that_can_be_no_folder_is_told_by_the_doctor_as_by_the_others(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "gone").symlink_to(tmp_path / "server")
    for home, words in (
        ("file", f"{tmp_path}/file is a file"),
        ("file/in/it", f"{tmp_path}/file is a file"),
        ("gone", f"{tmp_path}/gone is a link to {tmp_path}/server, which is not there"),
    ):
        assert words in evald("--home", tmp_path / home, "status").err
        settings = Settings(home=tmp_path / home)
        checked = checks._home(settings)
        assert (checked.status, words in checked.message) == (Status.FAIL, True)
        assert checked.hint == "name another with --home DIR or EVALD_HOME"
        assert list(checks._pause(settings)) == []


def test_a_current_folder_that_is_gone_is_called_that(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    (tmp_path / "here").rmdir()
    ran = evald("status")
    monkeypatch.chdir(tmp_path)
    assert ran.code == 2
    assert "the current folder has been removed" in ran.err


def test_links_in_a_circle_are_shown_by_a_command(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    ran = evald("--home", tmp_path / "loop", "status")
    assert ran.code == 2
    assert f"namei {tmp_path}/loop" in ran.err


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.ESTALE, errno.EFBIG, errno.EBUSY])
def test_every_refusal_says_where_to_look(number: int, tmp_path: Path) -> None:
    told = refused.explained(OSError(number, os.strerror(number), str(tmp_path)))
    assert told.message == f"{tmp_path}: {os.strerror(number)}"
    assert told.hint


@pytest.mark.parametrize(("number", "limit"), [(errno.EMFILE, "-n"), (errno.EAGAIN, "-u"), (errno.EFBIG, "-f")])
def test_a_limit_of_the_shell_is_told_by_the_command_that_shows_it(number: int, limit: str) -> None:
    error = HarnessError("the sandbox could not be built", hint="evald doctor")
    error.__cause__ = OSError(number, os.strerror(number))
    for told in (refused.explained(OSError(number, os.strerror(number))).hint, failing.as_document(error)["hint"]):
        assert str(told).startswith(f"ulimit {limit} ")


def test_a_file_that_may_not_be_so_large_is_told_with_the_limit(past: PastHome, tmp_path: Path) -> None:
    mine = bundle(tmp_path / "mine", padding="x" * 4096)
    command = f"ulimit -f 1; exec {sys.executable} -m daemon --home {past.settings.home} submit {mine}"
    ran = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 2
    assert "File too large" in ran.stderr
    assert "ulimit -f" in ran.stderr


@pytest.mark.parametrize("command", ["show", "status", "cancel", "submit", "validate", "nosuch"])
def test_a_word_of_thousands_of_characters_is_not_told_whole(evald: Evald, past: PastHome, command: str) -> None:
    name = "a" * 3000
    ran = evald(name) if command == "nosuch" else evald(command, name)
    assert ran.code == 2
    assert len(ran.err) < 1000
    assert "(30" in ran.err


def test_where_no_temporary_folder_takes_a_file_it_is_said_how_to_name_one(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", refused)
    ran = evald("eval", bundle(tmp_path / "mine"))
    assert ran.code == 2
    assert "No usable temporary directory" in ran.err
    assert "TMPDIR=" in ran.err


@pytest.mark.parametrize("command", [("run",), ("serve", "--port", "0")])
def test_a_daemon_of_a_shell_in_which_hardly_a_file_may_be_open_does_not_start(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    """What it could not open would be a fault of the bundle it is opened for."""
    argv = ["bash", "-c", 'ulimit -n 100; exec "$@"', "bash", sys.executable, "-m", "daemon", *command]
    environment = {**os.environ, "EVALD_HOME": str(tmp_path / "home"), "EVALD_ENGINE": "rehearsal"}
    ran = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert ran.returncode == 2, ran.stderr
    assert "no more than 100 files may be open here, and a daemon needs 128" in ran.stderr
    assert "ulimit -Hn" in ran.stderr
    assert not (tmp_path / "home" / "inbox").exists()


@pytest.mark.parametrize(("option", "limit"), [("-v", 300_000), ("-v", 600_000), ("-d", 200_000)])
def test_a_shell_that_leaves_a_judge_too_little_memory_is_told_by_what_shows_and_lifts_it(
    tmp_path: Path, option: str, limit: int
) -> None:
    """Where torch meets such a limit it aborts, or says something of OpenBLAS, or of a shared object."""
    shell = f'ulimit {option} {limit}; exec "$@"'
    argv = ["bash", "-c", shell, "bash", sys.executable, "-m", "daemon", "eval", str(bundle(tmp_path / "mine"))]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 2, ran.stderr
    assert f"ulimit {option} is {limit} here, and no judge can start with less than" in ran.stderr
    assert f"type: ulimit {option} unlimited" in ran.stderr
