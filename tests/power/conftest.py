from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import uml_guest
from power_house import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A guest with disks of its own, booted, on which nothing lies yet."""
    uml_guest.require("mkfs.ext4")
    built = House(tmp_path)
    try:
        with uml_guest.booting():
            built.switch_on()
        yield built
    finally:
        built.cut()
