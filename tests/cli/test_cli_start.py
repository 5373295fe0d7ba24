"""Commands start light: nothing imports torch unless it judges, and the help imports next to nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_homes import PastHome, bundle, passed

HEAVY = {"torch", "triton", "sqlalchemy", "pydantic", "rich", "alembic", "watchdog"}


def imported(*args: object) -> set[str]:
    """Top-level packages a command line imports, as `-X importtime` tells."""
    argv = [sys.executable, "-X", "importtime", "-m", "daemon", *map(str, args)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


def test_dropping_a_bundle_needs_no_database(past: PastHome, tmp_path: Path) -> None:
    bundle(tmp_path / "mine")
    past.ended("done", passed())
    assert not imported("submit", "mine") & (HEAVY - {"pydantic"})


def test_a_daemon_that_finds_its_schema_starts_without_alembic(past: PastHome) -> None:
    past.ended("done", passed())
    code = "import sys, daemon.opening as s; s.migrate.ensure_ready(sys.argv[1]); print('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code, past.settings.database_url],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    found = set(done.stdout.split())
    assert "sqlalchemy.orm" in found
    assert not found & {"alembic", "mako", "torch", "psycopg"}


@pytest.mark.parametrize("args", [("--help",), ("--version",), (), ("eval", "--help"), ("status", "--help")])
def test_help_imports_nothing_heavy(args: tuple[str, ...]) -> None:
    found = imported(*args)
    assert "click" in found
    assert not found & HEAVY


@pytest.mark.parametrize(
    "args",
    [
        ("status",),
        ("status", "done"),
        ("show", "done"),
        ("stats", "--by", "label:author"),
        ("submit", "mine"),
        ("cleanup",),
        ("config",),
        ("validate", "mine"),
        ("schema",),
        ("db", "current"),
    ],
)
def test_commands_that_ask_never_import_torch_or_alembic(args: tuple[str, ...], past: PastHome, tmp_path: Path) -> None:
    past.ended("done", passed())
    bundle(tmp_path / "mine")
    found = imported(*args)
    assert "pydantic" in found
    assert not found & {"torch", "triton", "alembic", "watchdog", "rich"}


def test_names_are_utf8_whatever_the_locale_is(past: PastHome, tmp_path: Path) -> None:
    made = bundle(tmp_path / "核")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    environment.pop("PYTHONIOENCODING", None)
    argv = [sys.executable, "-m", "daemon", "submit", "--home", past.settings.paths.home, made]
    done = subprocess.run(argv, env=environment, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.decode("utf-8").split()[1] == "核"
