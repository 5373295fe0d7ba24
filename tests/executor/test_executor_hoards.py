"""A kernel that holds much memory is timed until what may lie there, made before the clock ran, is little."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from executor_bundles import JudgeOne
from waiting import wait_for

from daemon.evaluation import Timing
from daemon.executor.host.processes import private_memory_of
from daemon.executor.host.supervise import start_plain
from daemon.executor.sandbox import cell_group
from daemon.executor.timing.hoards import Hoard

HELD = 1 << 29

REFERENCE = """
import torch
from torch import nn

class Model(nn.Module):
    def forward(self, x):
        return torch.tanh(x)

def get_inputs():
    return [torch.randn(64, 1024)]
"""

KEEPS = f"""
import torch
from torch import nn

kept = torch.ones({HELD}, dtype=torch.uint8)

class ModelNew(nn.Module):
    def forward(self, x):
        return torch.tanh(x)
"""


def cell(*held: int) -> Any:
    """One that holds so much at one look after the other, in the end always the same."""
    looks = list(held)
    program = SimpleNamespace(memory_bytes=lambda: looks.pop(0) if len(looks) > 1 else looks[0])
    return SimpleNamespace(program=program)


def taken_s(timing: Timing | None) -> float:
    assert timing is not None
    return sum(calls * sample for calls, sample in zip(timing.calls, timing.samples_ms, strict=True)) / 1e3


def test_calls_outlast_what_others_hold_as_well_at_once() -> None:
    hoard = Hoard(cell(10**9), [cell(10**8), cell(10**9)])
    hoard.look()
    assert hoard.is_outlasted(0.0)


def test_what_was_held_at_any_look_counts_and_takes_many_calls_to_outlast() -> None:
    """Eight gigabytes are filled in a second: that is little of seven seconds, and not of six."""
    hoard = Hoard(cell(10**8, 81 * 10**8, 10**8), [cell(10**8)])
    for _ in range(3):
        hoard.look()
    assert hoard.is_outlasted(7.0) and not hoard.is_outlasted(6.0)


def test_of_a_kernel_that_holds_nothing_no_more_is_asked() -> None:
    hoard = Hoard(cell(5), [])
    hoard.look()
    assert hoard.is_outlasted(1e-3)


@pytest.mark.parametrize("keys", [("anon", "shmem"), ("rss", "shmem")])
def test_files_of_a_cells_own_count_and_those_of_the_host_do_not(tmp_path: Path, keys: tuple[str, ...]) -> None:
    stat = tmp_path / "memory.stat"
    stat.write_text(f"{keys[0]} 100\nfile 7000\ncache 7000\n{keys[0]}_thp 30\nshmem 20\n")
    assert cell_group._counters(stat, keys) == 120
    assert cell_group._counters(tmp_path / "gone", keys) is None


def test_where_nothing_counts_for_a_cell_its_processes_are_asked() -> None:
    assert private_memory_of(os.getpid()) > 1 << 20
    assert private_memory_of(1 << 30) == 0, "there is none"
    holds = f"kept = bytearray(b'x') * {1 << 26}\nimport time\ntime.sleep(3600)"
    program = start_plain([sys.executable, "-I", "-c", holds], {"HOME": "/tmp/x"}, keep_fds=())
    try:
        wait_for(lambda: program.memory_bytes() > 1 << 26, "it to hold that")
    finally:
        program.kill()
    assert program.memory_bytes() == 0


def test_a_kernel_that_holds_memory_is_timed_for_longer_or_labelled(judge: JudgeOne) -> None:
    """Rounds end at once otherwise: all calls took a hundredth of a second. What they took is known better in the end
    than when it was decided that there are enough."""
    doc = {
        "ref_kernel": {"source_code": REFERENCE, "kernel_type": "torch"},
        "custom_kernel": {"source_code": KEEPS, "kernel_type": "torch"},
        "num_trials": 1,
        "correctness_trials": 1,
        "timing": {"max_s": 0.02, "target_rse": 0.9},
        "timeout": 300,
    }
    timing = judge(doc).case.timing
    assert timing is not None
    assert taken_s(timing) >= 0.25 * HELD / 8e9 / 0.15 or "may_be_prepared" in timing.labels
    doc["custom_kernel"] = {"source_code": KEEPS.replace(str(HELD), "1"), "kernel_type": "torch"}
    timing = judge(doc).case.timing
    assert timing is not None and "may_be_prepared" not in timing.labels
