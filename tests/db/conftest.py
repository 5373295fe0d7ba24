"""Both databases for every test that asks for `url`, `ready_url`, `database`, `repository`, `daemons` or `history`."""

from __future__ import annotations

import gzip
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgres_server

from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository

FROZEN = Path(__file__).parent / "frozen"


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


@pytest.fixture(params=["sqlite", "postgres"])
def thawed(request: pytest.FixtureRequest, earlier: str) -> str:
    """The URL of a database as it was at revision `earlier`."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    if request.param == "sqlite":
        with (
            gzip.open(FROZEN / f"{earlier}.sqlite3.gz") as frozen,
            Path(url.removeprefix("sqlite:///")).open("wb") as live,
        ):
            shutil.copyfileobj(frozen, live)
    else:
        with psycopg.connect(url) as connection:
            connection.execute(gzip.decompress((FROZEN / f"{earlier}.sql.gz").read_bytes()))
    return url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "evald.sqlite3"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_template(postgres: postgres_server.PostgresServer) -> str:
    url = postgres.create_database()
    migrate.upgrade(url)
    return url


@pytest.fixture
def ready_sqlite_url(sqlite_template: Path, sqlite_url: str, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path)
    return sqlite_url


@pytest.fixture
def ready_postgres_url(postgres: postgres_server.PostgresServer, postgres_template: str) -> Iterator[str]:
    url = postgres.create_database(postgres_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture(params=["sqlite", "postgres"])
def ready_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with every table and no rows, once on each kind."""
    found: str = request.getfixturevalue(f"ready_{request.param}_url")
    return found


@pytest.fixture
def database(ready_url: str) -> Iterator[Database]:
    opened = Database(ready_url)
    yield opened
    opened.close()


@pytest.fixture
def repository(database: Database) -> Repository:
    return Repository(database, max_attempts=3)


@pytest.fixture
def daemons(database: Database) -> DaemonRepository:
    return DaemonRepository(database)


@pytest.fixture
def history(database: Database) -> History:
    return History(database)
