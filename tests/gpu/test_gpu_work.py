"""Declared work on a real GPU: what the device can do at most is measured, and a copying kernel's share is credible."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tool_kernels import COUNT, SCALE, scale

from daemon.engine import JobSpec
from daemon.executor.local import LocalEngine
from daemon.verdict import Verdict

pytestmark = pytest.mark.gpu


def test_a_streaming_kernel_that_declares_its_bytes_gets_a_share_of_the_memory(
    engine: LocalEngine, tmp_path: Path
) -> None:
    contract = scale(SCALE, work={"bytes": 8 * COUNT, "flops": COUNT})
    (tmp_path / "contract.json").write_text(json.dumps(contract), "utf-8")
    [case] = engine.evaluate(JobSpec("work", "work", tmp_path), lambda _: None).cases
    assert case.verdict is Verdict.PASSED, case.failure
    assert case.timing is not None
    print(case.timing.gb_per_s, case.timing.tflop_per_s, case.timing.speed_of_light_pct)
    assert (case.timing.limiting_side, case.timing.work_source) == ("memory", "declared")
    assert 0 < (case.timing.speed_of_light_pct or 0) <= 110
    assert "below_floor" not in case.timing.labels
