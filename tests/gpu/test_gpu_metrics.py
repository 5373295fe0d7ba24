"""Hardware counters on a real GPU: `pytest tests/gpu/test_gpu_metrics.py`. Skipped without a GPU or ncu.

Where the driver keeps counters for administrators, the tests that count are skipped with its reason, and one asserts
that evald says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tool_kernels import COUNT, SCALE, SIDE, Doc, scale, two_kernels

from daemon.engine import JobSpec
from daemon.evaluation import CaseEvaluation
from daemon.executor.host.devices import Device
from daemon.executor.local import LocalEngine
from daemon.executor.tools import ncu
from daemon.executor.tools.installed import find
from daemon.executor.tools.sections import NAMES
from daemon.verdict import Verdict

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(find("ncu") is None, reason="ncu is not installed")]
counting = pytest.mark.skipif(bool(ncu.driver_restricts()), reason=ncu.FORBIDDEN)
Count = Callable[[Doc], CaseEvaluation]


@pytest.fixture
def count(engine: LocalEngine, tmp_path: Path) -> Count:
    def counted(doc: Doc) -> CaseEvaluation:
        (tmp_path / "contract.json").write_text(json.dumps(doc), "utf-8")
        [case] = engine.evaluate(JobSpec("metrics", "metrics", tmp_path), lambda _: None).cases
        assert case.verdict is Verdict.PASSED, case.failure
        return case

    return counted


def sections_of(case: CaseEvaluation, side: str = "custom_device_metrics") -> dict[str, Any]:
    found: dict[str, Any] = case.device_metrics[side]
    assert "unsupported" not in found, (found, case.tool_reports)
    return found


def test_the_installed_ncu_knows_nearly_all_metrics(gpu: Device) -> None:
    plan = ncu.plan(NAMES, ncu.known(str(find("ncu")), gpu))
    print("not known here:", *sorted(plan.unavailable), sep="\n  ")
    assert len(plan.metrics) > 40
    assert "gpu__time_duration.sum" in plan.metrics
    assert any("tensor" in metric for metric in plan.metrics)


@pytest.mark.skipif(not ncu.driver_restricts(), reason="the driver lets everybody count here")
def test_where_counting_is_forbidden_the_result_says_so_and_passes(count: Count) -> None:
    assert "ERR_NVGPUCTRPERM" in count(scale(SCALE, metrics=True)).device_metrics["unsupported"]


@counting
def test_a_streaming_kernel_reads_and_writes_its_tensors_once(count: Count) -> None:
    case = count(scale(SCALE, metrics=True))
    found = sections_of(case)
    print(json.dumps(found, indent=1))
    assert found["memory_metrics"]["dram_read_bytes"] == pytest.approx(4 * COUNT, rel=0.1)
    assert found["roofline_metrics"]["limiting_side"] == "memory"
    counted = found["compute_metrics"]
    assert sum(counted[f"float32_{kind}_instructions"] for kind in ("add", "mul", "fma")) == COUNT
    assert found["occupancy_metrics"]["threads_per_block"] == 256
    assert case.timing is not None
    assert 0 < (case.timing.speed_of_light_pct or 0) <= 110
    assert "below_floor" not in case.timing.labels
    assert [kernel["kernel"] for kernel in found["kernels"]] == ["scale"]
    assert case.tool_reports["counters-candidate.csv"]


@counting
def test_every_section_has_figures_and_what_is_absent_has_a_reason(count: Count) -> None:
    found = sections_of(count(scale(SCALE, metrics=True)))
    print("absent:", json.dumps(found["absent"], indent=1))
    assert all(found[section] for section in NAMES)


@counting
def test_two_kernels_of_one_call_stand_beside_each_other(count: Count) -> None:
    found = sections_of(count(two_kernels(metrics=True)))
    assert len(found["kernels"]) >= 2
    flops = found["roofline_metrics"]["tensor_bf16_operations"]
    assert flops == pytest.approx(2 * SIDE**3, rel=0.05), "is the tensor counter in operations, two per multiply-add?"


@counting
def test_only_the_sections_asked_for_are_counted(count: Count) -> None:
    found = sections_of(count(scale(SCALE, metrics=["SpeedOfLight"])))
    assert set(found) & set(NAMES) == {"speed_of_light"}


@counting
def test_ncus_duration_is_near_the_time_evald_takes(count: Count) -> None:
    case = count(scale(SCALE, metrics=["timing_metrics"]))
    assert case.timing is not None
    counted_us = sections_of(case)["timing_metrics"]["duration_us"]
    print(f"ncu {counted_us:.2f} us, evald {case.timing.stats.mean * 1e3:.2f} us")
    assert 0.2 < counted_us / (case.timing.stats.mean * 1e3) < 5
