from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import nfs_lab
import postgres_server
import uml_guest
from nfs_lab import Lab
from nfs_story import Facts, Story

from daemon.db import migrate

# As docs/how-to/several-hosts.md has it.
MOUNT_OPTIONS = "vers=4.2,proto=tcp,hard,lookupcache=positive"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A file server and two clients, booted, with the share mounted."""
    uml_guest.require()
    if (reason := nfs_lab.missing()) is not None:
        uml_guest.refuse(reason)
    try:
        booted = Lab(tmp_path_factory.mktemp("lab"))
    except OSError as error:
        uml_guest.refuse(f"no network for guests here: {error}")
    try:
        with uml_guest.booting():
            booted.boot()
        booted.mount(MOUNT_OPTIONS)
        yield booted
    finally:
        booted.close()


@pytest.fixture
def facts(lab: Lab, tmp_path: Path) -> Iterator[Facts]:
    """What was seen while two daemons worked and everything broke once."""
    try:
        with postgres_server.running() as server:
            lab.relay_database(server.socket_folder / ".s.PGSQL.5432")
            url = server.create_database()
            migrate.upgrade(url)
            story = Story(lab, url, tmp_path)
            try:
                yield story.tell()
            finally:
                story.close()
    except postgres_server.PostgresMissing as reason:
        uml_guest.refuse(str(reason))


@pytest.fixture
def options() -> str:
    return MOUNT_OPTIONS


@pytest.fixture
def repository() -> Path:
    return Path(__file__).parents[2]
