from __future__ import annotations

import os
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
    if not (wanted := os.environ.get("EVALD_TEST_GUESTS")):
        pytest.skip("takes minutes: make test-guests")
    reason = uml_guest.missing("mkfs.ext4")
    built = House(tmp_path) if reason is None else None
    try:
        if built is not None:
            try:
                built.switch_on()
            except (OSError, AssertionError) as error:
                reason = f"user-mode Linux does not boot here: {str(error).partition(chr(10))[0]}"
        if built is not None and reason is None:
            yield built
            return
    finally:
        if built is not None:
            built.cut()
    if wanted == "where-possible":
        pytest.skip(reason)
    pytest.fail(reason)
