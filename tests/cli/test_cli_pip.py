"""Hints that say what to install can be pasted: they name the interpreter of this evald, and what pip can find."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Evald

from daemon.cli import installed, pip_commands
from daemon.cli.check import Status


@pytest.mark.parametrize(("command", "missing", "extra"), [("serve", "fastapi", "http"), ("mcp", "mcp", "mcp")])
def test_a_command_whose_packages_are_missing_says_what_to_type_for_its_own_interpreter(
    command: str, missing: str, extra: str
) -> None:
    blocked = f"import sys; sys.modules[{missing!r}] = None; from daemon.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", blocked, command], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{shlex.quote(sys.executable)} -m pip install 'evald[{extra}]'" in done.stderr


def test_what_the_doctor_says_to_install_is_for_its_own_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "version_of", lambda _: None)
    monkeypatch.setattr(installed, "program", lambda _: None)
    hints = [check.hint for check in installed.all_checks() if check.hint and "pip " in check.hint]
    assert len(hints) >= 4
    assert [hint for hint in hints if not hint.startswith(f"{shlex.quote(sys.executable)} -m pip ")] == []


def _came_from(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    told = None if url is None else json.dumps({"url": url, "dir_info": {}})
    monkeypatch.setattr(importlib.metadata, "distribution", lambda _: SimpleNamespace(read_text=lambda _: told))


def test_evald_is_installed_again_from_where_it_came_with_the_versions_that_are_named_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "my evald"
    source.mkdir()
    _came_from(source.as_uri(), monkeypatch)
    assert shlex.split(pip_commands.evald_itself()) == [str(source)]
    (source / "constraints.txt").touch()
    assert shlex.split(pip_commands.evald_itself()) == ["-c", str(source / "constraints.txt"), str(source)]


@pytest.mark.parametrize("url", [None, "file:///gone/evald", "git+https://example.org/evald"])
def test_evald_is_named_where_it_came_from_an_index_or_a_place_that_is_gone(
    url: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pip_commands, "PACKAGE", tmp_path / "daemon")
    _came_from(url, monkeypatch)
    assert pip_commands.evald_itself() == "evald"


def test_a_checkout_that_was_never_installed_is_named_itself_and_fails_the_doctor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An index may have another evald."""
    checkout = shlex.quote(str(pip_commands.PACKAGE.parent))
    _came_from(None, monkeypatch)
    assert pip_commands.evald_itself().endswith(checkout)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    check = installed._package_owner()
    assert (check.status, "only found in" in check.message) == (Status.FAIL, True)
    assert str(check.hint).endswith(f"-m pip install -e {checkout}")


def test_an_installation_that_a_service_cannot_reach_is_told_how_to_make_one(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source").mkdir()
    _came_from((tmp_path / "source").as_uri(), monkeypatch)
    (tmp_path / "private").mkdir(mode=0o700)
    monkeypatch.setattr("daemon.cli.install_service._places", lambda: [tmp_path / "private"])
    ran = evald("install-service", "--user", "evald", "--prefix", tmp_path / "prefix", "--dry-run")
    assert ran.code == 2
    assert f"/opt/evald/bin/pip install {tmp_path / 'source'}" in ran.err
