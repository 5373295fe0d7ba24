"""A small run of `make chaos` on both databases, and proof that its audit notices what it is there for."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from chaos import Chaos, chosen_database
from postgres_server import PostgresMissing

from daemon.config import Settings
from daemon.db import migrate

SCRIPT = Path(__file__).with_name("chaos.py")


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_killed_frozen_and_stopped_daemons_lose_nothing_and_double_nothing(kind: str) -> None:
    if kind == "postgres":
        try:
            with chosen_database(kind):
                pass
        except PostgresMissing as reason:
            pytest.skip(str(reason))
    command = [sys.executable, str(SCRIPT), "--bundles", "40", "--kills", "15", "--db", kind]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "zero lost, zero doubled" in done.stdout


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Chaos:
    """A home with three bundles judged by one healthy daemon."""
    chaos = Chaos(tmp_path_factory.mktemp("audit") / "home", None, 1, random.Random(0))
    migrate.ensure_ready(Settings(home=chaos.home).database_url)
    for serial in range(3):
        chaos.drop(serial)
    try:
        chaos.drain()
    finally:
        chaos.stop_all()
    return chaos


def test_the_audit_finds_nothing_wrong_with_an_undisturbed_home(judged: Chaos) -> None:
    assert judged.audit() == []


@pytest.mark.parametrize("damage", ["lost result", "doubled result", "left in work", "lost bundle", "never dropped"])
def test_the_audit_notices(judged: Chaos, tmp_path: Path, damage: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(judged.home, home, symlinks=True)
    chaos = Chaos(home, None, 1, random.Random(0))
    chaos.books.dropped = dict(judged.books.dropped)
    paths = Settings(home=home).paths
    result = next(paths.results.glob("[0-9]*/*"))
    shelved = next(entry for shelf in (paths.archive, paths.rejected, paths.quarantine) for entry in shelf.iterdir())
    if damage == "lost result":
        shutil.rmtree(result)
    elif damage == "doubled result":
        shutil.copytree(result, paths.results / "2000-01" / result.name)
    elif damage == "left in work":
        (paths.work / "bundle9@x").mkdir()
    elif damage == "lost bundle":
        shelved.rename(tmp_path / "elsewhere")
    else:
        chaos.books.dropped[99] = "folder"
    assert chaos.audit() != []
