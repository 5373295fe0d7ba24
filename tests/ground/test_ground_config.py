"""Settings: layers, where a value came from, and errors that name the place."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from daemon import config, layers
from daemon.db.connection import file_of
from daemon.errors import OperatorError


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_later_layers_win_and_each_value_names_its_source(tmp_path: Path) -> None:
    file = write(tmp_path / "evald.toml", "slots = 2\nlease_s = 30\n[limits]\nfile_count = 7\n")
    loaded = layers.load(
        {"slots": 4}, config_file=file, environ={"EVALD_LEASE_S": "40", "EVALD_LIMITS_CASES": "3", "HOME": "/x"}
    )
    settings = loaded.settings
    assert (settings.slots, settings.lease_s, settings.limits.file_count, settings.limits.cases) == (4, 40, 7, 3)
    assert loaded.sources["slots"] == "flag --slots"
    assert loaded.sources["lease_s"] == "environment EVALD_LEASE_S"
    assert loaded.sources["limits.file_count"] == f"{file}:4"
    assert loaded.sources["max_attempts"] == "default"


def test_a_flag_that_was_not_given_changes_nothing() -> None:
    assert layers.load({"slots": None}, environ={}).settings.slots == config.Settings().slots


def test_the_file_in_the_home_is_read_without_being_named(tmp_path: Path) -> None:
    write(tmp_path / "evald.toml", "slots = 3\n")
    assert layers.load({"home": str(tmp_path)}, environ={}).settings.slots == 3
    assert layers.load(environ={"EVALD_HOME": str(tmp_path)}).settings.slots == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = 1\nslotz = 2\n", [":1:", "'a'"]),
        ("slots = 1\n[limits]\nfile_cuont = 2\n", [":3:", "limits.file_cuont", "limits.file_count"]),
        ("[limit]\ncases = 2\n", [":2:", "limit.cases", "limits.cases"]),
        ("slots = 0\n", [":1", "slots", "must be at least 1", "got 0"]),
        ("slots = [\n", ["not valid TOML"]),
        ('isolation = "docker"\n', [":1", "isolation", "docker"]),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path: Path, text: str, words: list[str]) -> None:
    file = write(tmp_path / "mistake.toml", text)
    with pytest.raises(OperatorError) as caught:
        layers.load(config_file=file, environ={})
    for word in words:
        assert word in str(caught.value)


def test_a_byte_order_mark_is_tolerated_and_what_is_no_utf_8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_bytes(b"\xef\xbb\xbfslots = 3\r\n")
    assert layers.load(config_file=file, environ={}).settings.slots == 3
    file.write_bytes("slots = 3\n".encode("utf-16"))
    with pytest.raises(OperatorError, match=r"settings\.toml: not UTF-8 text \(byte 0\)"):
        layers.load(config_file=file, environ={})


def test_a_folder_in_the_place_of_the_settings_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "evald.toml").mkdir()
    with pytest.raises(OperatorError, match="is a folder, not a settings file"):
        layers.load({"home": str(tmp_path)}, environ={})


def test_an_unknown_variable_is_an_error_that_knows_the_nearest_name() -> None:
    with pytest.raises(OperatorError, match="EVALD_SLOTS"):
        layers.load(environ={"EVALD_SLOT": "1"})


def test_a_settings_file_that_is_named_but_missing_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no settings file"):
        layers.load(config_file=tmp_path / "nowhere.toml", environ={})


def test_folders_follow_the_home_and_each_can_be_set_on_its_own(tmp_path: Path) -> None:
    paths = layers.load({"home": str(tmp_path), "inbox": str(tmp_path / "nfs" / "in")}, environ={}).settings.paths
    assert paths.results == tmp_path / "results"
    assert paths.inbox == tmp_path / "nfs" / "in"
    assert paths.work == tmp_path / "nfs" / "work"
    assert paths.default_database_url == f"sqlite:///{tmp_path}/state/evald.sqlite3"


def value_of(settings: config.Settings, key: str) -> object:
    return functools.reduce(getattr, key.split("."), settings)


def test_no_path_depends_on_the_current_folder_but_that_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (tmp_path / "elsewhere").mkdir()
    paths = {key for key, field in config.describe() if "Path" in str(field.annotation)} - {"home"}
    places = {"inbox", "results", "state"}
    assert paths > places
    found = []
    for folder in (tmp_path, tmp_path / "elsewhere"):
        monkeypatch.chdir(folder)
        flags = {key: [f"some/{key}"] if key in layers.LIST_SEPARATORS else f"some/{key}" for key in paths}
        settings = layers.load({"home": str(home), **flags}, environ={}).settings
        used = {key: value_of(settings, key) for key in paths - places}
        found.append(used | {name: getattr(settings.paths, name) for name in places})
    assert found[0] == found[1]
    for key, value in found[0].items():
        assert value in (home / "some" / key, (home / "some" / key,))


def test_a_relative_sqlite_file_lies_in_the_home(tmp_path: Path) -> None:
    def url(given: str) -> str:
        return layers.load({"home": str(tmp_path), "database": given}, environ={}).settings.database_url

    assert url("sqlite:///books.sqlite3") == f"sqlite:///{tmp_path}/books.sqlite3"
    assert url("sqlite+pysqlite:///in/books.sqlite3") == f"sqlite+pysqlite:///{tmp_path}/in/books.sqlite3"
    for unchanged in ("sqlite:////srv/books.sqlite3", "sqlite://", "sqlite:///:memory:", "postgresql://me@host/books"):
        assert url(unchanged) == unchanged
    file = write(tmp_path / "url", "sqlite:///books.sqlite3")
    loaded = layers.load({"home": str(tmp_path), "database_file": file.name}, environ={})
    assert loaded.settings.database_url == f"sqlite:///{tmp_path}/books.sqlite3"


@pytest.mark.parametrize("name", ["a%41b", "what?", "100%", "ü %3F#&"])
def test_what_a_folder_is_called_means_nothing_in_the_url_of_its_database(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    settings = layers.load({"home": home}, environ={}).settings
    assert file_of(settings.database_url) == home / "state" / "evald.sqlite3"
    database = layers.load({"home": home, "database": "sqlite:///books.sqlite3?timeout=3"}, environ={}).settings
    assert file_of(database.database_url) == home / "books.sqlite3"
    with pytest.raises(OperatorError, match="where bundles do"):
        layers.load({"home": home, "database": "sqlite:///inbox/books.sqlite3"}, environ={})


def test_the_database_url_can_lie_in_a_file_or_a_credential_and_a_written_one_wins(tmp_path: Path) -> None:
    credential = write(tmp_path / "evald-database-url", "postgresql://evald:secret@db/evald\n")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    loaded = layers.load(environ=environ)
    assert loaded.settings.database_url == "postgresql://evald:secret@db/evald"
    assert loaded.sources["database_file"] == "credential evald-database-url"
    assert "secret" not in loaded.settings.model_dump_json()
    assert layers.load({"database": "sqlite:////x"}, environ=environ).settings.database_url == "sqlite:////x"
    other = write(tmp_path / "other", "sqlite:////y\n")
    assert layers.load({"database_file": other}, environ=environ).settings.database_url == "sqlite:////y"
    credential.unlink()
    assert layers.load({"home": "/h"}, environ=environ).settings.database_url == "sqlite:////h/state/evald.sqlite3"


def test_whoever_says_last_which_database_wins_in_whatever_way(tmp_path: Path) -> None:
    toml = write(tmp_path / "evald.toml", 'database = "sqlite:////x"\n')
    file = write(tmp_path / "url", "sqlite:////y\n")
    environ = {"EVALD_CONFIG": str(toml)}
    loaded = layers.load({"database_file": file}, environ=environ)
    assert loaded.settings.database_url == "sqlite:////y"
    assert loaded.sources["database"] == "default"
    with pytest.raises(OperatorError, match="database and database_file both say which database"):
        layers.load({"database_file": file, "database": "sqlite://"}, environ=environ)


def test_a_database_file_that_holds_no_url_is_named(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "missing", "cannot read"), (write(tmp_path / "empty", "\n"), "holds 0 words")):
        with pytest.raises(OperatorError, match=reason):
            _ = layers.load({"database_file": path}, environ={}).settings.database_url


@pytest.mark.parametrize(
    ("line", "told", "hint"),
    [
        ('slots = "two"', "slots must be a whole number, got 'two'", "1 when not set"),
        ("slots = 0", "slots must be at least 1, got 0", "How many jobs"),
        ("slots = true", "slots must be a whole number, got true", "How many jobs"),
        ("timing.max_s = false", "timing.max_s must be a number, got false", "2.0 when not set"),
        ("ahead = true", "ahead must be a whole number, got true", "2 per GPU"),
        ("polling = true", "polling must be 'auto', 'always' or 'never', got true", "auto when not set"),
        (
            "log_level = false",
            "log_level must be 'debug', 'info', 'warning' or 'error', got false",
            "info when not set",
        ),
        ("inbox = true", "inbox must be text, the name of a place, got true", "Inbox"),
        ("http.host = false", "http.host must be text, got false", "127.0.0.1 when not set"),
        ("backend_paths = true", "backend_paths must be a list, got true", "further kernel types"),
        ("gpus = [true]", "gpus must be text, got true", "by index"),
        ('device = "gpu"', "device must be 'auto', 'cpu' or 'cuda', got 'gpu'", "auto when not set"),
        ('gpus = "0"', "gpus must be a list, got '0'", "by index"),
        ("metrics_file = 3", "metrics_file must be text", "Prometheus"),
        ("timing.target_rse = 2", "timing.target_rse must be less than 1, got 2", "relative standard error"),
        ("sandbox.uid_base = 1", "sandbox.uid_base must be at least 1000, got 1", "None may be a user's"),
        ("device = cpu", "not valid TOML", 'isolation = "bubblewrap"'),
    ],
)
def test_a_value_that_cannot_be_is_told_with_what_the_setting_is(
    tmp_path: Path, line: str, told: str, hint: str
) -> None:
    (tmp_path / "evald.toml").write_text(line)
    with pytest.raises(OperatorError) as caught:
        layers.load({"home": tmp_path}, environ={})
    assert told in caught.value.message
    assert "Input" not in caught.value.message
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize("key", ["database", "http.host", "inbox", "metrics_file"])
def test_what_an_unset_variable_leaves_empty_is_no_default(key: str, tmp_path: Path) -> None:
    variable = "EVALD_" + key.replace(".", "_").upper()
    section, _, name = key.rpartition(".")
    file = write(tmp_path / "evald.toml", (f"[{section}]\n" if section else "") + f'{name} = ""\n')
    for given in (
        {"environ": {variable: ""}},
        {"environ": {}, "config_file": file},
        {"environ": {}, "flags": {key: ""}},
    ):
        with pytest.raises(OperatorError, match=f"{key} is empty"):
            layers.load(**given)  # type: ignore[arg-type]


def test_a_log_level_may_be_written_in_capitals(tmp_path: Path) -> None:
    assert layers.load(environ={"EVALD_LOG_LEVEL": "WARNING"}).settings.log_level == "warning"
    with pytest.raises(OperatorError, match="log_level must be 'debug'"):
        layers.load(config_file=write(tmp_path / "evald.toml", "log_level = 2"), environ={})


def test_a_list_holds_no_empty_text_but_a_variable_may_be_one(tmp_path: Path) -> None:
    for line in ('gpus = [""]', 'backend_paths = ["", "/a"]'):
        with pytest.raises(OperatorError, match="has an empty text in it"):
            layers.load(config_file=write(tmp_path / "evald.toml", line), environ={})
    assert layers.load(environ={"EVALD_GPUS": "", "EVALD_BACKEND_PATHS": ":/a"}).settings.backend_paths == (Path("/a"),)


def test_what_is_no_utf8_is_told_in_our_words() -> None:
    with pytest.raises(OperatorError, match="EVALD_SLOTS: slots must be UTF-8 text"):
        layers.load(environ={"EVALD_SLOTS": "\udcff"})


def test_gpus_may_be_written_as_the_numbers_they_are(tmp_path: Path) -> None:
    toml = write(tmp_path / "evald.toml", 'gpus = [0, "GPU-1"]')
    assert layers.load(config_file=toml, environ={}).settings.gpus == ("0", "GPU-1")
    assert layers.load(environ={"EVALD_GPUS": "[2, 3]"}).settings.gpus == ("2", "3")


def test_a_list_in_a_variable_may_be_written_as_in_the_file_or_shorter() -> None:
    for gpus in ('["0", "GPU-1"]', "0,GPU-1", "0, GPU-1", "['0','GPU-1',]"):
        assert layers.load(environ={"EVALD_GPUS": gpus}).settings.gpus == ("0", "GPU-1")
    assert layers.load(environ={"EVALD_GPUS": "[]"}).settings.gpus == ()
    paths = layers.load(environ={"EVALD_BACKEND_PATHS": '["/a", "/b:c"]'}).settings.backend_paths
    assert paths == (Path("/a"), Path("/b:c"))
    assert layers.load(environ={"EVALD_BACKEND_PATHS": "[a]:/b"}).settings.backend_paths[1] == Path("/b")
