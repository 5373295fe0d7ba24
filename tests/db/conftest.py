"""Both databases for every test that asks for `url`, `database`, `repository` or `history`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgres_server

from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.repository import Repository


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    """One server for the session (for each xdist worker)."""
    try:
        with postgres_server.running() as server:
            yield server
    except postgres_server.PostgresMissing as reason:
        pytest.skip(str(reason))


@pytest.fixture
def postgres_url(postgres: postgres_server.PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'evald.sqlite3'}"


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, once on each kind."""
    found: str = request.getfixturevalue(f"{request.param}_url")
    return found


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    migrate.upgrade(url)
    opened = Database(url)
    yield opened
    opened.close()


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database, max_attempts=3)


@pytest.fixture
def history(database: Database) -> History:
    return History(database)
