"""Every bundle of this suite on a real GPU: its verdict, its figures, its words."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable

import pytest
from gpu_bundles import Judged, names, parsed

from daemon.contract import CompareRequest
from daemon.evaluation import Timing
from daemon.executor.host.devices import Device
from daemon.executor.local import LocalEngine
from daemon.verdict import Side

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("name", names())
def test_a_bundle_gets_its_verdict_and_everything_that_belongs_to_it(
    judge: Callable[[str], Judged], gpu: Device, name: str
) -> None:
    judged = judge(name)
    assert judged.as_expected, judged.text
    ran_on_the_gpu(judged, gpu)
    if judged.expected.passes:
        is_complete(judged)
    else:
        says_what_happened(judged)


def ran_on_the_gpu(judged: Judged, gpu: Device) -> None:
    environment = judged.evaluation.environment
    assert environment.device == "cuda"
    assert (environment.device_name, environment.device_uuid) == (gpu.name, gpu.uuid)
    assert environment.driver == gpu.driver
    assert environment.torch is not None and environment.triton is not None


def is_complete(judged: Judged) -> None:
    """All trials passed, both sides timed, all figures there and above zero."""
    case = judged.case
    compared = isinstance(parsed(judged.name).request, CompareRequest)
    assert case.compiled
    assert case.failure is None
    assert case.correctness is (True if compared else None)
    assert case.trials_passed == case.trials_total == parsed(judged.name).request.correctness_trials
    assert case.timing is not None
    has_figures(case.timing)
    assert (case.ref_timing is not None) == (case.speedup is not None) == compared
    if case.ref_timing is not None and case.speedup is not None:
        has_figures(case.ref_timing)
        assert case.speedup > 0
    labels = {*case.labels, *case.timing.labels}
    assert set(judged.expected.labels) <= labels
    assert "weak_check" not in labels, case.notes
    assert judged.expected.mode in (None, case.timing.mode), case.notes
    built = json.dumps(case.build)
    assert [text for text in judged.expected.build if text not in built] == [], built


def has_figures(timing: Timing) -> None:
    stats = timing.stats
    shown = (stats.mean, stats.min, stats.max, stats.median, stats.percentile_95, stats.percentile_99)
    assert min(shown) > 0
    assert stats.std >= 0
    assert stats.min <= stats.median <= stats.percentile_95 <= stats.percentile_99 <= stats.max
    assert timing.mode in ("graph", "stream")
    assert len(timing.samples_ms) == len(timing.calls) >= 1
    assert timing.footprint_bytes > 0


def says_what_happened(judged: Judged) -> None:
    case = judged.case
    assert case.failure is not None
    assert case.failure.side is Side.CANDIDATE
    assert case.timing is None
    assert [text for text in judged.expected.messages if text not in case.failure.message] == [], judged.text
    if judged.expected.line is not None:
        assert judged.names_line(*judged.expected.line), judged.text


def test_what_was_judged_right_after_a_fault_came_out_as_if_nothing_had_happened(
    engine: LocalEngine, record: list[Judged]
) -> None:
    followers = [
        (fault.name, follower)
        for fault, follower in itertools.pairwise(record)
        if not fault.expected.passes and follower.expected.passes
    ]
    if not followers:
        pytest.skip("no bundle was judged after a fault")
    assert {fault: follower.text for fault, follower in followers if not follower.as_expected} == {}
    assert [device.reason for device in engine.devices()] == [None]
