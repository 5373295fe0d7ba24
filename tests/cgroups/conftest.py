from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import uml_guest
from uml_guest import Guest


@pytest.fixture
def one_tree(tmp_path: Path) -> Iterator[Guest]:
    """A guest in which every controller is in the one tree of cgroup v2."""
    uml_guest.require()
    guest = Guest(tmp_path, "tree")
    try:
        with uml_guest.booting():
            guest.boot()
            guest.run("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        yield guest
    finally:
        guest.kill()
