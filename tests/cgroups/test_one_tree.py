"""The limits of cells where all controllers are in one tree, as on every host of today: by a kernel of its own, for
the controllers of the machine that tests run on may be in trees of v1."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
from uml_guest import Guest

SCRIPT = Path(__file__).with_name("under_limits.py")
REPOSITORY = Path(__file__).parents[2]


@pytest.mark.guest
def test_a_cell_has_its_limits_in_the_one_tree_of_cgroup_v2(one_tree: Guest) -> None:
    command = f"cd {REPOSITORY} && PYTHONPATH=. {sys.executable} {SCRIPT} /run/local 2>/run/host/errors"
    seen = json.loads(one_tree.run(command))
    assert seen["version"] == 2
    assert seen["missing"] == []
    assert seen["limited"] == {
        "oom before": False,
        "refused before": 0,
        "hoarder ended by": signal.SIGKILL,
        "oom": True,
        "to blame": True,
        "refused": True,
    }
    assert seen["stopped"] == {"frozen": True, "counts while frozen": False, "counts after": True}
    assert seen["shared"] == {
        "cpu.max": "50000 100000",
        "cpu.weight": "1",
        "memory.max": str(32 << 20),
        "pids.max": "8",
    }
    assert seen["swept"] == {"groups before": 1, "groups after": 0, "its cell is gone": True}
