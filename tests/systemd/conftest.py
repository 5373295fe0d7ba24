from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import systemd_machine
from systemd_machine import Machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted systemd. Skips with the reason where there can be none; fails there when EVALD_TEST_SYSTEMD is set."""
    reason = systemd_machine.missing()
    if reason is None:
        booted = Machine(tmp_path_factory.mktemp("machine"))
        try:
            booted.boot()
        except TimeoutError as error:
            reason = f"systemd does not boot here: {error}"
        else:
            yield booted
        finally:
            booted.power_off()
    if reason is not None:
        if os.environ.get("EVALD_TEST_SYSTEMD"):
            pytest.fail(reason)
        pytest.skip(reason)


@pytest.fixture
def repository() -> Path:
    return Path(__file__).parents[2]
