"""new, validate, schema, config, db, version, doctor."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import sqlite3
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from cli_homes import TORCH_PAIR, PastHome, bundle, passed
from conftest import Evald

from daemon.cli.starters import STARTERS

FROZEN = Path(__file__).parents[1] / "db" / "frozen"


@pytest.mark.parametrize("kind", list(STARTERS))
def test_every_starter_is_valid_without_a_warning(evald: Evald, tmp_path: Path, kind: str) -> None:
    ran = evald("new", kind, "mine")
    assert ran.code == 0
    assert "evald eval mine" in ran.err
    title, _, sentence, *_ = (tmp_path / "mine" / "README.md").read_text("utf-8").splitlines()
    assert (title, sentence[0].isupper()) == ("# mine", True)
    told = evald("validate", "mine", "--json").document()
    assert told["valid"] is True
    assert told["bundles"][0]["name"] == "mine"
    assert told["bundles"][0]["warnings"] == []


def test_new_overwrites_nothing(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "precious").write_text("x")
    ran = evald("new", "torch", "mine")
    assert ran.code == 2
    assert "already there" in ran.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["precious"]


def test_what_new_says_to_type_holds_for_names_with_spaces(evald: Evald) -> None:
    assert "evald eval 'my add'" in evald("new", "torch", "my add").err
    assert "mkdir -p 'no where'" in evald("new", "torch", "no where/mine").err


def test_new_helps_with_kinds(evald: Evald, tmp_path: Path) -> None:
    assert set(evald("new", "--json").document()["kinds"]) == set(STARTERS)
    assert "triton" in evald("new", "trition", "mine").err
    assert "evald new cuda mine" in evald("new", "mine", "cuda").err
    assert "mkdir" in evald("new", "torch", "a/b").err
    assert "NAME" in evald("new", "torch").err
    assert list(tmp_path.iterdir()) == []


def test_validate_lists_every_problem_with_file_field_and_suggestion(evald: Evald, tmp_path: Path) -> None:
    kernel = {"kernel_type": "tritn", "source_file": "kernl.py", "sorce": 1}
    contract = {"kernel": kernel, "num_trials": 0, "extra": True, "problm": "x"}
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "kernel.py").write_text("")
    (folder / "contract.json").write_text(json.dumps(contract))
    bundle(tmp_path / "good", unknown=1)

    ran = evald("validate", "bad", "good", "--json")

    assert ran.code == 2
    bad, good = ran.document()["bundles"]
    assert not bad["valid"]
    assert {problem["field"] for problem in bad["problems"]} >= {"kernel.kernel_type", "kernel.sorce", "num_trials"}
    assert "triton" in {problem["suggestion"] for problem in bad["problems"]}
    assert all(problem["file"] == "contract.json" for problem in bad["problems"])
    assert good["valid"]
    assert [warning["field"] for warning in good["warnings"]] == ["unknown"]
    text = evald("validate", "bad", "good").out
    assert "did you mean 'triton'?" in text
    assert "good: ok" in text
    assert "warning: contract.json: unknown" in text


def test_validate_reads_folders_archives_and_single_files(evald: Evald, tmp_path: Path) -> None:
    text = (bundle(tmp_path / "mine") / "contract.json").read_bytes()
    (tmp_path / "one.json").write_bytes(text)
    with tarfile.open(tmp_path / "packed.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("packed/contract.json")
        member.size = len(text)
        archive.addfile(member, io.BytesIO(text))
    (tmp_path / "broken.zip").write_bytes(b"PK nonsense")
    assert evald("validate", "mine", "mine/contract.json", "one.json", "packed.tar.gz").code == 0
    assert evald("validate", "one.json", "broken.zip").code == 2


def test_validate_runs_nothing_of_the_bundle(evald: Evald, tmp_path: Path) -> None:
    kernel = {"kernel_type": "torch", "source_code": f"open({str(tmp_path / 'ran')!r}, 'w')"}
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "contract.json").write_text(json.dumps({"kernel": kernel}))
    evald("validate", "mine")
    assert not (tmp_path / "ran").exists()


def test_the_schema_is_json_and_knows_the_kernel_types(evald: Evald) -> None:
    told = evald("schema").document()
    assert told == evald("schema", "--json").document()
    assert "multi_kernel" in json.dumps(told)


def test_config_says_where_every_value_came_from(evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "e.toml").write_text("slots = 3\n\n[timing]\nmax_s = 7\n\n[limits]\ncases = 9\n")
    monkeypatch.setenv("EVALD_SLOTS", "4")
    monkeypatch.setenv("EVALD_LIMITS_CASES", "5")
    told = evald("config", "--config", "e.toml", "--slots", 2, "--set", "quiet_s=0.5", "--json").document()
    found = {key: (one["value"], one["source"]) for key, one in told["settings"].items()}
    assert found["slots"] == (2, "flag --slots")
    assert found["limits.cases"] == (5, "environment EVALD_LIMITS_CASES")
    assert found["timing.max_s"] == (7.0, "e.toml:4")
    assert found["quiet_s"][0] == 0.5
    assert found["polling"] == ("auto", "default")
    text = evald("config", "--config", "e.toml").out
    assert "e.toml:4" in text
    assert "environment EVALD_SLOTS" in text


def test_a_folder_typed_by_hand_is_meant_from_here_and_one_in_the_settings_from_the_home(
    evald: Evald, tmp_path: Path
) -> None:
    typed = evald("config", "--home", "there", "--backend-path", "types", "--json").document()["settings"]
    assert typed["backend_paths"]["value"] == [str(tmp_path / "types")]
    given = evald("config", "--home", "there", "--set", "backend_paths=types", "--json").document()["settings"]
    assert given["backend_paths"]["value"] == [str(tmp_path / "there" / "types")]
    assert "--backend-path is empty" in evald("config", "--backend-path", "").err
    none = evald("config", "--home", "there", "--set", "backend_paths=", "--json").document()["settings"]
    assert none["backend_paths"]["value"] == []


def test_home_and_config_may_stand_before_the_command(evald: Evald, tmp_path: Path) -> None:
    told = evald("--home", tmp_path / "there", "config", "--json").document()
    assert told["settings"]["home"]["value"] == str(tmp_path / "there")


def test_a_password_is_not_printed(evald: Evald) -> None:
    url = "postgresql://evald:secret@host/name"
    for extra in ([], ["--json"]):
        ran = evald("config", "--database", url, *extra)
        assert ran.code == 0
        assert "secret" not in ran.out
        assert "evald:***@host" in ran.out


def test_db_upgrade_beside_daemons_wants_to_be_forced(evald: Evald, tmp_path: Path) -> None:
    file = tmp_path / "evald-home" / "state" / "evald.sqlite3"
    file.parent.mkdir(parents=True)
    file.write_bytes(gzip.decompress((FROZEN / "0004.sqlite3.gz").read_bytes()))
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE daemon SET lease_s = 1e9, state = 'running'")
    refused = evald("db", "upgrade")
    assert refused.code == 2
    assert "daemons use database" in refused.err
    assert "evald db upgrade --force" in refused.err
    assert evald("db", "upgrade", "--force").code == 0
    assert evald("db", "current").code == 0


def test_db_check_finds_an_index_that_lacks_what_is_in_its_table(evald: Evald, past: PastHome) -> None:
    past.ended("old", passed())
    past.database.close()
    ran = evald("db", "check")
    assert (ran.code, ran.out.endswith(" is whole\n")) == (0, True)
    file = past.settings.paths.state / "evald.sqlite3"
    index = ("ix_event_job_id",)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        [row] = connection.execute("SELECT * FROM sqlite_schema WHERE name = ?", index)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE name = ?", index)
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("INSERT INTO event (at, kind) VALUES ('2026-01-01 00:00:00.000000', 'noted')")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", row)
    ran = evald("db", "check")
    assert ran.code == 2
    assert f"{file} is damaged" in ran.err
    assert "ix_event_job_id" in ran.err


def test_db_check_says_who_looks_through_postgres(evald: Evald) -> None:
    ran = evald("db", "check", "--database", "postgresql://me@nowhere.invalid/evald")
    assert ran.code == 2
    assert "pg_amcheck" in ran.err


def test_an_evald_older_than_the_database_does_not_say_to_upgrade_it(evald: Evald, tmp_path: Path) -> None:
    """`evald db current` said so, and the upgrade refused."""
    assert evald("db", "upgrade").code == 0
    (file,) = tmp_path.rglob("evald.sqlite3")
    with contextlib.closing(sqlite3.connect(file)) as opened:
        opened.execute("UPDATE alembic_version SET version_num = '9999'")
        opened.commit()
    ran = evald("db", "current")
    assert ran.code == 2
    assert "db upgrade" not in ran.err
    assert "install the evald that upgraded it" in ran.err


def test_db_upgrade_creates_and_current_tells(evald: Evald) -> None:
    assert evald("db", "upgrade").code == 0
    told = evald("db", "current", "--json").document()
    assert told["ready"] is True
    assert told["current"] == told["needed"]
    assert evald("db", "upgrade", "--json").document()["current"] == told["needed"]
    assert "current" in evald("db", "current").out


def test_db_copy_takes_the_history_along_and_tells_how_much(evald: Evald, past: PastHome, tmp_path: Path) -> None:
    past.ended("done", passed())
    copy = f"sqlite:///{tmp_path / 'copy.sqlite3'}"
    ran = evald("db", "copy", copy)
    assert ran.code == 0, ran.err
    assert "1 of them jobs" in ran.out
    assert "before a daemon is started again" in ran.err
    shown = [evald("show", "done", "--json", *named).document() for named in ((), ("--database", copy))]
    assert shown[0]["result"] == shown[1]["result"]
    assert shown[0]["events"] == shown[1]["events"]
    again = evald("db", "copy", "--json", copy)
    assert again.code == 2
    assert "is in use" in again.document()["error"]


def test_version_in_text_and_json(evald: Evald) -> None:
    told = evald("version", "--json").document()
    assert told["evald"] in evald("version").out
    assert told["evald"] in evald("--version").out
    assert told["torch"]


@pytest.mark.sandbox
def test_the_doctor_starts_a_real_cell_and_leaves_nothing(evald: Evald, tmp_path: Path) -> None:
    ran = evald("doctor", "--json")
    told = ran.document()
    by_name = {check["name"]: check for check in told["checks"]}
    assert told["ok"] is (ran.code == 0)
    assert by_name["cell"]["status"] == "ok", by_name
    assert by_name["package daemon"]["status"] == "ok"
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_fails_where_the_sandbox_cannot_be_had(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    ran = evald("doctor")
    assert ran.code == 2
    assert "bubblewrap is not installed" in ran.out
    assert "apt-get install bubblewrap" in ran.out
    assert "schema" in ran.out


def test_the_doctor_refuses_a_full_disk_and_an_outdated_database(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with past.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0000'")
    ran = evald("doctor", "--set", f"min_free_bytes={1 << 60}")
    failed = [line.split()[1] for line in ran.out.splitlines() if line.startswith("FAIL")]
    assert {"space", "database", "sandbox"} <= set(failed)
    assert "evald db upgrade" in ran.out


@pytest.mark.parametrize("command", ["eval", "submit", "validate"])
def test_an_empty_path_is_not_the_folder_one_is_in(evald: Evald, tmp_path: Path, command: str) -> None:
    (tmp_path / "evald-home" / "inbox").mkdir(parents=True)
    bundle(tmp_path / "here")
    refused = evald(command, "")
    assert refused.code == 2
    assert "is empty" in refused.out + refused.err
    assert list((tmp_path / "evald-home" / "inbox").iterdir()) == []


def dropped(past: PastHome) -> list[str]:
    return sorted(entry.name.partition("@")[0] for entry in past.settings.paths.inbox.iterdir())


def test_what_would_only_be_rejected_is_not_dropped_where_nobody_would_hear_of_it(
    evald: Evald, past: PastHome, tmp_path: Path
) -> None:
    bundle(tmp_path / "good")
    bundle(tmp_path / "bad", priority="high")
    (tmp_path / "empty.json").touch()
    ran = evald("submit", "bad", "good", "empty.json")
    assert ran.code == 2
    assert "bad was not dropped: 1 problem" in ran.err
    assert "contract.json: priority" in ran.err
    assert "empty.json was not dropped: 1 problem" in ran.err
    assert "evald validate bad" in ran.err
    assert dropped(past) == ["good"]
    told = evald("submit", "bad", "--json")
    [error] = told.document()["errors"]
    assert [problem["field"] for problem in error["problems"]] == ["priority"]
    assert evald("submit", "bad", "--unchecked").code == 0
    assert dropped(past) == ["bad", "good"]


def test_with_wait_the_daemon_has_the_word(evald: Evald, past: PastHome, tmp_path: Path) -> None:
    bundle(tmp_path / "bad", priority="high")
    assert evald("submit", "bad", "--wait", "--timeout", "0").code == 2
    assert dropped(past) == ["bad"]
    assert "--unchecked is for dropping without --wait" in evald("submit", "bad", "--wait", "--unchecked").err


def test_what_cannot_be_checked_here_is_left_to_the_daemon(
    evald: Evald, past: PastHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle(tmp_path / "good")
    monkeypatch.setenv("EVALD_BACKEND_PATHS", str(tmp_path / "not here"))
    assert evald("submit", "good").code == 0
    assert dropped(past) == ["good"]


def test_a_contract_that_is_missing_or_a_folder_is_told_with_what_to_do(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "folder" / "contract.json").mkdir(parents=True)
    assert "evald new writes one to start from" in evald("validate", "without").out
    assert "contract.json: is a folder; it has to be a file" in evald("validate", "folder").out


def test_a_folder_of_bundles_is_told_to_be_named_bundle_by_bundle(evald: Evald, tmp_path: Path) -> None:
    for name in ("one", "two"):
        bundle(tmp_path / "folders" / name)
    text = (tmp_path / "folders" / "one" / "contract.json").read_bytes()
    (tmp_path / "files").mkdir()
    for name in ("one.json", "two.json"):
        (tmp_path / "files" / name).write_bytes(text)
    for several in ("folders", "files"):
        assert "of a folder of bundles name each, such as FOLDER/*" in evald("validate", several).out
    (tmp_path / "files" / "two.json").unlink()
    assert "evald new writes one to start from" in evald("validate", "files").out


def _pipe(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))


def test_a_dash_is_the_contract_on_stdin(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _pipe(monkeypatch, json.dumps({**TORCH_PAIR, "name": "piped"}))
    assert evald("validate", "-").out.startswith("-: ok")
    _pipe(monkeypatch, json.dumps({**TORCH_PAIR, "name": "piped"}))
    ran = evald("submit", "-")
    assert ran.code == 0
    [dropped] = past.settings.paths.inbox.iterdir()
    assert json.loads(dropped.read_text())["name"] == "piped"
    assert ran.out.split() == [dropped.name.partition("@")[2], "stdin.json"]
    assert not list(tmp_path.glob("evald-stdin*"))


def test_what_stdin_holds_may_be_no_bundle_and_is_there_once(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pipe(monkeypatch, "")
    ran = evald("submit", "-", "-")
    assert ran.code == 2
    assert "- was not dropped" in ran.err
    assert "is there once" in ran.err
    assert not list(past.settings.paths.inbox.iterdir())


def test_submit_tells_what_was_probably_misspelt_once_for_all_bundles(
    evald: Evald, past: PastHome, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        bundle(tmp_path / name, num_trails=3, author="anna")
    ran = evald("submit", "a", "b", "c")
    assert (ran.code, len(ran.out.splitlines())) == (0, 3)
    assert ran.err.startswith("evald: warning: a and 2 more: contract.json: num_trails: is not a known key")
    assert "num_trials" in ran.err
    assert "author" not in ran.err
