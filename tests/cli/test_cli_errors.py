"""Every mistake gets a line, what to type, and its exit code; never a traceback."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_homes import TORCH_PAIR, PastHome, bundle, passed
from conftest import Evald, Start

from daemon.cli import commands_to_type, failing, main, waiting
from daemon.errors import HarnessError
from daemon.intake import submit
from daemon.intake.spool import Claimed, Spool


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("stauts",), ("stauts", "status")),
        (("db", "uprade"), ("uprade", "upgrade")),
        (("leaderboard",), ("mean 'stats --problem NAME'?",)),
        (("jobs",), ("mean 'status'?",)),
        (("help",), ("'help'", "mean '--help'?")),
        (("help", "submit"), ("'help'", "mean 'submit --help'?")),
        (("status", "--hoem", "x"), ("--hoem", "--home")),
        (("eval",), ("PATH",)),
        (("status", "--set", "timing.max=3"), ("timing.max", "timing.max_s")),
        (("status", "--set", "timing.max_s"), ("KEY=VALUE",)),
        (("status", "--set", "timing.max_s=soon"), ("--set timing.max_s", "soon")),
        (("status", "--set", "min_free_bytes=x"), ("--set min_free_bytes",)),
        (("config", "--set", "slots=3", "--slots", "2"), ("--slots and --set slots", "leave one of them out")),
        (("--home", "a", "status", "--set", "home=b"), ("--home and --set home", "leave one of them out")),
        (("sweep", "--slots", "0"), ("flag --slots",)),
        (("sweep", "--isolation", "docker"), ("--isolation", "docker", "bubblewrap")),
        (("status", "--config", "nowhere.toml"), ("nowhere.toml", "--config")),
        (("status",), ("there is no evald", "evald run")),
        (("submit", "x"), ("there is no evald", "evald run")),
        (("stats",), ("there is no evald", "evald run")),
        (("drain", "x"), ("no database", "evald run")),
        (("stats", "--since", "yesterday"), ("--since", "yesterday", "7d")),
        (("db", "current"), ("evald db upgrade",)),
        (("status", "--database", "mysql://x/y"), ("mysql", "postgresql://")),
    ],
)
def test_a_mistake_is_named_with_what_to_type(evald: Evald, args: tuple[str, ...], words: tuple[str, ...]) -> None:
    ran = evald(*args)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.startswith("evald: ")
    assert "Traceback" not in ran.err
    for word in words:
        assert word in ran.err


def test_a_group_without_a_command_is_asked_what_it_has(evald: Evald) -> None:
    """`evald db` was an error whose message was the help, with its lines cut off."""
    for group in ((), ("db",)):
        ran = evald(*group)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out.startswith("Usage: evald")
        assert "..." not in ran.out.partition("\n")[2]


@pytest.mark.parametrize(
    ("args", "typed"),
    [
        (("--home", "a b", "status"), "evald --home 'a b' run"),
        (("status", "--home=there"), "evald --home there run"),
        (("--home", "one", "drain", "x", "--home", "two"), "evald --home two db upgrade"),
        (("stats", "--state", "fast disk"), "evald --state 'fast disk' run"),
        (("--state", "s", "stats", "--results=r"), "evald --results r --state s run"),
        (("status",), "type: evald run"),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_what_to_type_is_about_the_evald_that_was_named(
    evald: Evald, args: tuple[str, ...], typed: str, *, as_json: bool
) -> None:
    ran = evald(*args, *(("--json",) if as_json else ()))
    assert ran.code == 2
    assert typed in (ran.document()["hint"] if as_json else ran.err)


@pytest.mark.parametrize("place", ["home", "state", "inbox", "results", "database"])
def test_which_evald_is_meant_may_stand_before_the_command(evald: Evald, tmp_path: Path, place: str) -> None:
    value = f"sqlite:////{tmp_path / 'there.sqlite3'}" if place == "database" else str(tmp_path / "there")
    before, after = evald(f"--{place}", value, "config", "--json"), evald("config", "--json", f"--{place}", value)
    assert before.code == 0
    assert before.document() == after.document()
    assert "there" in before.out


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@127.0.0.1:1/x", "postgresql://me@127.0.0.1:1/x?password=secret"]
)
@pytest.mark.parametrize(
    "command", [("status",), ("health",), ("doctor", "--json"), ("token",), ("config",), ("new", "torch", "mine")]
)
def test_no_hint_has_a_password(evald: Evald, command: tuple[str, ...], url: str) -> None:
    ran = evald("--database", url, *command)
    assert "secret" not in ran.out + ran.err
    assert commands_to_type.beside("evald run", ["--database", url, "--home", "h"]) == "evald --home h run"


@pytest.mark.parametrize("option", ["--home", "--inbox", "--results", "--state", "--database"])
def test_an_empty_place_is_a_mistake(evald: Evald, option: str) -> None:
    for args in (("config", option, ""), (option, "", "config")):
        ran = evald(*args)
        assert ran.code == 2
        assert f"{option} is empty" in ran.err


@pytest.mark.parametrize(
    ("typed", "command", "rest"),
    [
        (["sweep", "--home", "my home"], (), "sweep --home 'my home'"),
        (["--home", "h", "run"], ("doctor",), "--home h doctor"),
        (["run", "--database", "postgresql://me:secret@db/evald"], (), "--home /srv/evald run --database …"),
        (["doctor"], ("doctor",), "--home /srv/evald doctor"),
    ],
)
def test_a_command_for_another_user_can_be_pasted_although_sudo_hands_nothing_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, typed: list[str], command: tuple[str, ...], rest: str
) -> None:
    monkeypatch.setenv("EVALD_HOME", "/srv/evald")
    monkeypatch.setattr(sys, "argv", [str(tmp_path / "bin" / "evald")])
    commands_to_type.remember(typed)
    pasted = commands_to_type.of_another("anna", *command)
    assert pasted == f"sudo -u anna {tmp_path}/bin/evald {rest}"
    assert commands_to_type.here(pasted) == pasted


def test_what_is_said_beside_results_is_about_the_evald_that_was_named(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "other" / "inbox").mkdir(parents=True)
    home, named = f"--home={tmp_path / 'other'}", f"evald --home {tmp_path / 'other'}"
    assert f"{named} eval" in evald(home, "new", "torch-compare", str(tmp_path / "mine")).err
    assert f"{named} token NAME" in evald(home, "token").out
    unwell = f"nobody judges: type {named} run, or systemctl start evald"
    assert evald(home, "health").out == f"{unwell}\n"
    assert evald("health", home, "--json").document()["problems"] == [unwell]
    checks = evald("doctor", home, "--set", "min_free_bytes=9000000000000000", "--json").document()["checks"]
    (of_space, *_) = [check for check in checks if check["name"].startswith("space")]
    assert of_space["hint"].startswith(f"{named} cleanup --dry-run")


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        ("type: evald doctor", "type: evald --home x --config y doctor"),
        ("evald run or evald db upgrade", "evald --home x --config y run or evald --home x --config y db upgrade"),
        ("install evald with pip, as evald says", "install evald with pip, as evald says"),
        ("type: evald run --home /elsewhere", "type: evald run --home /elsewhere"),
    ],
)
def test_only_commands_are_made_about_one_evald(text: str, typed: str) -> None:
    args = ["--home", "x", "status", "--config=y", "--", "--home", "z"]
    assert commands_to_type.beside(text, args) == typed


def test_commands_to_type_name_the_program_that_was_started_where_no_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other = tmp_path / "my tools" / "evald", tmp_path / "bin" / "evald"
    for program in (mine, other):
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(mine), "status"])
    commands_to_type.remember(["status"])
    for path, started in (
        ("/nowhere", f"'{mine}'"),
        (str(other.parent), f"'{mine}'"),
        (f"{mine.parent}:{other.parent}", "evald"),
    ):
        monkeypatch.setenv("PATH", path)
        assert commands_to_type.here("type: evald run") == f"type: {started} run"
        assert commands_to_type.here("type: evald run --help") == f"type: {started} run --help"
        assert commands_to_type.here("type: evald --help") == f"type: {started} --help"
    monkeypatch.setenv("PATH", "/nowhere")
    assert commands_to_type.here("as evald says, below /opt/evald run it") == "as evald says, below /opt/evald run it"


def test_what_a_journal_says_to_type_names_the_settings_that_only_the_service_has(
    evald: Evald, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALD_HOME", "/srv/evald")
    assert "type: evald --home /srv/evald run " in evald("status").err
    assert "type: evald --home /elsewhere run " in evald("status", "--home", "/elsewhere").err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    commands_to_type.remember(["status"])
    assert commands_to_type.here("evald run") == "evald run"


def test_errors_of_several_bundles_say_what_to_type_as_one_error_does(evald: Evald, past: PastHome) -> None:
    Path("bad.json").write_text("{}")
    home = f"--home={past.settings.home}"
    plain, told = evald("submit", home, "bad.json"), evald("submit", home, "bad.json", "--json")
    [error] = told.document()["errors"]
    assert f"evald --home {past.settings.home} validate bad.json" in error["hint"]
    assert error["hint"] in plain.err


def test_what_to_type_when_a_service_is_installed_is_for_the_program_that_installs_it(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/opt/evald/bin/evald", "install-service"])
    for more in ((), ("--cron",)):
        ran = evald("install-service", "--prefix", tmp_path, "--dry-run", *more)
        assert "EVALD_CONFIG=/etc/evald/evald.toml /opt/evald/bin/evald doctor" in ran.err
        named = evald("--home", "x", "install-service", "--prefix", tmp_path, "--dry-run", *more)
        assert named.err == ran.err  # the settings of the service say which home


@pytest.mark.parametrize("args", [("stauts", "--json"), ("status", "--json"), ("eval", "nothing", "--json")])
def test_with_json_an_error_is_one_document(evald: Evald, args: tuple[str, ...]) -> None:
    ran = evald(*args)
    assert ran.code == 2
    assert ran.err == ""
    assert set(ran.document()) == {"error", "hint"}


def test_an_inbox_that_is_gone_is_not_told_as_an_evald_that_never_was(evald: Evald, past: PastHome) -> None:
    inbox = past.settings.paths.inbox
    bundle(Path("mine"))
    inbox.rmdir()
    gone = evald("submit", "mine")
    assert gone.code == 2
    assert gone.err.startswith(f"evald: there is no inbox {inbox}\n  is its file system mounted")
    never = evald("submit", "--home", "elsewhere", "mine")
    assert "there is no evald at" in never.err


def test_a_wrong_path_says_what_is_nearby(evald: Evald, tmp_path: Path) -> None:
    bundle(tmp_path / "relu_fast")
    for command in ("eval", "validate"):
        ran = evald(command, "relu_fst")
        assert ran.code == 2
        assert "relu_fast" in ran.out + ran.err


def test_what_cannot_be_a_bundle_is_not_suggested(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "relu.log").touch()
    (tmp_path / "notes.md").touch()
    assert "there is no bundle here" in evald("eval", "relu").err
    bundle(tmp_path / "softmax")
    assert "there is here: softmax" in evald("eval", "relu").err


def test_a_link_to_nothing_is_named_as_one(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "mine").symlink_to("nowhere")
    for command in ("eval", "validate"):
        ran = evald(command, "mine")
        assert ran.code == 2
        assert "link to nowhere" in ran.out + ran.err
        assert "did you mean" not in ran.out + ran.err


def test_a_bare_source_file_says_what_to_type(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "fast.cu").write_text("__global__ void k() {}")
    (tmp_path / "fast.py").write_text("")
    (tmp_path / "fast.rs").write_text("")
    assert "evald new cuda fast" in evald("eval", "fast.cu").err
    assert "evald new torch-compare fast" in evald("eval", "fast.py").err
    told = evald("eval", "fast.rs").err
    assert "is not a bundle" in told and "- is such a file on stdin" in told


def test_a_folder_that_cannot_be_made_is_one_line(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = evald("sweep", "--home", tmp_path / "file")
    assert ran.code == 2
    assert str(tmp_path / "file") in ran.err
    assert "Traceback" not in ran.err


def test_a_home_that_cannot_be_is_named_with_what_to_type(process: Evald, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ran = process("run", "--home", tmp_path / "file" / "below")
    assert ran.code == 75
    assert f"evald: {tmp_path / 'file' / 'below'}" in ran.err
    assert f"{tmp_path / 'file'} is a file, where a folder is wanted" in ran.err
    assert "Errno" not in ran.err


@pytest.mark.parametrize(("command", "code"), [("run", 75), ("serve", 75), ("sweep", 75), ("status", 2)])
def test_a_service_whose_disk_fails_while_it_reads_its_settings_is_started_again(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, code: int
) -> None:
    is_file = Path.is_file

    def fails(path: Path) -> bool:
        if path.name == "evald.toml":
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", fails)
    ran = evald(command, "--home", tmp_path)
    assert ran.code == code
    assert "evald.toml: Stale file handle" in ran.err


@pytest.mark.parametrize(("number", "code"), [(errno.ESTALE, 75), (errno.EACCES, 2)])
def test_a_sweep_that_a_file_server_fails_for_a_moment_may_be_tried_again(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    iterdir = Path.iterdir

    def fails(folder: Path) -> Iterator[Path]:
        if folder == past.settings.paths.inbox:
            raise OSError(number, os.strerror(number), str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", fails)
    ran = evald("sweep", "--set", "engine=rehearsal")
    assert ran.code == code
    assert os.strerror(number) in ran.err


def test_a_sweep_that_cannot_repair_what_others_left_may_be_tried_again(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(_: Spool) -> Iterator[Claimed]:
        raise HarnessError("cannot list the folder of claimed bundles: Stale file handle")

    monkeypatch.setattr(Spool, "held", fails)
    bundle(past.settings.paths.inbox / "waits")
    ran = evald("sweep", "--set", "engine=rehearsal")
    assert (ran.code, "Stale file handle" in ran.err) == (75, True)


def test_a_sweep_that_cannot_look_into_the_inbox_afterwards_tells_what_it_has_judged(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox, looks = past.settings.paths.inbox, []
    iterdir = Path.iterdir

    def fails(folder: Path) -> Iterator[Path]:
        if folder == inbox and not any(os.scandir(inbox)):
            looks.append(folder)
            raise OSError(errno.ESTALE, "Stale file handle", str(folder))
        return iterdir(folder)

    monkeypatch.setattr(Path, "iterdir", fails)
    bundle(inbox / "mine")
    ran = evald("sweep", "--set", "engine=rehearsal", "--json")
    assert looks
    assert [job["name"] for job in ran.document()["jobs"]] == ["mine"]
    assert "Stale file handle" in ran.document()["hindrance"]


def test_an_outdated_database_is_refused_with_the_line_to_type(evald: Evald, past: PastHome) -> None:
    with past.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    ran = evald("status")
    assert ran.code == 2
    assert "evald db upgrade" in ran.err


def test_a_reader_that_goes_away_is_no_error(past: PastHome) -> None:
    past.ended("done", passed())
    read, write = os.pipe()
    os.close(read)
    argv = [sys.executable, "-m", "daemon", "schema"]
    done = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, text=True, timeout=300, check=False)
    os.close(write)
    assert done.returncode == failing.NO_READER
    assert done.stderr == ""


def test_an_interrupt_while_waiting_tells_a_script_what_it_has_dropped(
    evald: Evald, past: PastHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(waiting, "wait_for", interrupted)
    ran = evald("submit", bundle(tmp_path / "mine"), "--wait", "--json")
    assert ran.code == failing.INTERRUPTED
    assert [one["name"] for one in ran.document()["submitted"]] == ["mine"]


@pytest.mark.parametrize(("option", "said"), [((), ""), (("--json",), '{"error": "interrupted", "hint": null}\n')])
def test_an_interrupt_while_modules_are_read_is_one_too(
    option: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It had a traceback, and ended by the signal: reading them is all that most commands take time for."""

    class Interrupting:
        @staticmethod
        def find_spec(name: str, *_: object) -> None:
            if name == "daemon.cli.failing":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "daemon.cli.failing")
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    monkeypatch.setattr(sys, "argv", ["evald", "status", *option])
    assert main() == failing.INTERRUPTED
    assert capsys.readouterr() == (said, "evald: interrupted\n")


def test_a_database_that_refuses_does_not_hide_what_was_dropped(evald: Evald, past: PastHome, tmp_path: Path) -> None:
    (past.settings.paths.state / "evald.sqlite3").write_bytes(b"no database" * 1000)
    ran = evald("submit", bundle(tmp_path / "mine"), "--wait", "--json")
    assert ran.code == failing.COULD_NOT
    document = ran.document()
    assert [one["name"] for one in document["submitted"]] == ["mine"]
    assert (len(document["errors"]), document["results"]) == (1, [])


@pytest.mark.parametrize(
    "args",
    [("submit", ".", "--timeout", "5"), ("submit", ".", "--wait", "--timeout", "-5"), ("status", "--every", "5")],
)
def test_an_option_that_would_change_nothing_is_refused(evald: Evald, args: tuple[str, ...]) -> None:
    ran = evald(*args)
    assert ran.code == 2
    assert args[-2] in ran.err


@pytest.mark.parametrize("key", ["scan_interval_s", "lease_s", "timing.max_s"])
def test_for_ever_is_no_time(evald: Evald, key: str) -> None:
    ran = evald("config", "--set", f"{key}=inf")
    assert (ran.code, key in ran.err) == (2, True)


def test_an_empty_home_is_not_the_current_folder(evald: Evald, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALD_INBOX", "")
    ran = evald("config")
    assert (ran.code, "environment EVALD_INBOX: inbox is empty" in ran.err) == (2, True)


def test_a_full_disk_is_told_on_stderr_where_stdout_cannot_be_written(past: PastHome) -> None:
    with Path("/dev/full").open("w") as full:
        asked = subprocess.run(
            [sys.executable, "-m", "daemon", "stats", "--json"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert asked.returncode == failing.COULD_NOT
    assert b"No space left" in asked.stderr
    assert b"Traceback" not in asked.stderr


def test_a_reader_slower_than_a_pipe_that_does_not_block_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    room = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    os.write(writing, b"-" * room)  # the reader has not even begun
    asked = subprocess.Popen([sys.executable, "-m", "daemon", "schema"], stdout=writing, stderr=subprocess.PIPE)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
    _, complaints = asked.communicate(timeout=300)
    assert (asked.returncode, complaints) == (0, b"")
    assert json.loads(said[room:])["title"]


@pytest.mark.parametrize(
    ("args", "code"),
    [(("sweep", "--set", "engine=rehearsal"), 0), (("status", "--home", "/nowhere"), failing.COULD_NOT)],
    ids=["warned", "refused"],
)
def test_messages_that_cannot_be_written_change_no_exit_code(args: tuple[str, ...], code: int) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with Path("/dev/full").open("w") as full:
        argv = [sys.executable, "-m", "daemon", *args]
        asked = subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=full, env=environment, check=False)
        lost = subprocess.run(argv, stdout=full, stderr=full, env=environment, check=False)
    assert (asked.returncode, lost.returncode) == (code, failing.COULD_NOT)


def test_an_interrupt_while_waiting_leaves_the_bundle_and_says_so(
    start_from_nothing: Start, past: PastHome, tmp_path: Path
) -> None:
    waiting = start_from_nothing("submit", bundle(tmp_path / "mine"), "--wait")  # a Python that writes at once
    assert waiting.stdout is not None
    assert "mine" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=120)
    assert waiting.returncode == failing.INTERRUPTED
    assert "stay in the queue" in err
    assert "Traceback" not in err
    assert len(list(past.settings.paths.inbox.iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--results", "inbox/results"), "flag --results: results"),
        (("--results", "inbox"), "lies in"),
        (("--state", "work/x"), "flag --state: state"),
        (("--results", "r", "--inbox", "r/in"), "lies in the results"),
    ],
)
def test_folders_that_would_be_taken_for_bundles_are_refused(
    evald: Evald, tmp_path: Path, options: tuple[str, ...], words: str
) -> None:
    ran = evald("config", "--home", tmp_path, *options)
    assert ran.code == 2
    assert words in ran.err
    assert "beside" in ran.err
    assert evald("config", "--home", tmp_path, "--results", "inbox-results").code == 0


@pytest.mark.parametrize("more", [(), ("--wait",)], ids=["dropping", "dropping and waiting"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_interrupted_while_dropping_says_what_was_dropped(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, more: tuple[str, ...]
) -> None:
    past.settings.paths.create()
    for name in ("one", "two", "three"):
        Path(f"{name}.json").write_text(json.dumps(TORCH_PAIR))
    drop = submit.submit

    def interrupted(place: Path, inbox: Path) -> submit.Dropped:
        done = drop(place, inbox)
        if place.name.startswith("two"):
            signal.raise_signal(number)
        return done

    monkeypatch.setattr(submit, "submit", interrupted)
    ran = evald("submit", "--home", past.settings.home, "--json", *more, "one.json", "two.json", "three.json")
    assert ran.code == 130
    assert "2 of 3 were dropped" in ran.err
    ids = [one["job_id"] for one in ran.document()["submitted"]]
    assert sorted(entry.name.rpartition("@")[2] for entry in past.settings.paths.inbox.iterdir()) == sorted(ids)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_waits_for_a_contract_on_stdin_is_ended_by_a_signal_and_leaves_nothing(
    past: PastHome, tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    command = [sys.executable, "-m", "daemon", "--home", str(past.settings.home), "submit", "-"]
    environment = {**os.environ, "TMPDIR": str(folder)}
    before = signal.signal(number, signal.SIG_DFL)  # nohup, under which the tests may run, ignores SIGHUP
    try:
        started = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)
    finally:
        signal.signal(number, before)
    with started as running:
        assert running.stdin is not None
        assert running.stderr is not None
        running.stdin.write(b"{")
        running.stdin.flush()
        deadline_s = time.monotonic() + 60
        while not any(folder.glob("*/stdin.json")) and time.monotonic() < deadline_s:
            time.sleep(0.05)
        running.send_signal(number)
        assert running.wait(60) == 130
        assert b"interrupted" in running.stderr.read()
    assert list(folder.iterdir()) == []
    assert list(past.settings.paths.inbox.iterdir()) == []


@pytest.mark.parametrize(
    ("closed", "code"), [("<&- >&- 2>&-", 0), (">&-", 0), ("2>&-", 0)], ids=["all", "stdout", "stderr"]
)
def test_a_closed_stream_is_nobody_who_listens_and_no_fault(past: PastHome, closed: str, code: int) -> None:
    command = f'exec "$0" -m daemon status --home "$1" {closed}'
    done = subprocess.run(
        ["sh", "-c", command, sys.executable, str(past.settings.home)], capture_output=True, timeout=300, check=False
    )
    assert (done.returncode, b"Traceback" in done.stdout + done.stderr) == (code, False)


def test_what_a_stream_cannot_say_is_escaped() -> None:
    argv = [sys.executable, "-m", "daemon", "validate", "µs"]
    done = subprocess.run(
        argv, capture_output=True, timeout=300, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"}
    )
    assert done.returncode == 2
    said = done.stdout + done.stderr
    assert b"\\xb5s" in said and b"Traceback" not in said


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("database=sqlite:///inbox/evald.sqlite3", "where bundles do"),
        ("database_file=work/url", "where bundles do"),
        ("metrics_file=inbox/evald.prom", "where bundles do"),
        ("http.tokens_file=archive/tokens", "where bundles do"),
        ("metrics_file=/", "is a folder"),
        ("scan_interval_s=1e10", "must be at most"),
        ("claim_ahead=99999999999999999999", "must be at most"),
        ("max_attempts=99999999999999999999", "must be at most"),
        ("limits.contract_bytes=99999999999999999999", "must be at most"),
        ("sandbox.uid_base=99999999999", "must be at most"),
        ("sandbox.cpu_cores=1e-9", "must be at least"),
        ("sandbox.cpu_cores=inf", "finite"),
        ("control_interval_s=inf", "finite"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(evald: Evald, setting: str, reason: str) -> None:
    ran = evald("sweep", "--home", "here", "--set", setting)
    assert ran.code == 2
    assert f"--set {setting.partition('=')[0]}" in ran.err and reason in ran.err
    assert not Path("here").exists()
