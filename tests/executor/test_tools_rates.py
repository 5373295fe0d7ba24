"""Rates and shares from declared or counted work: the arithmetic, and real evaluations on the CPU that declare work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from executor_bundles import ADD, Doc, compare, evaluate, io, kernel, tensor, write_bundle
from executor_settings import cell_uid, small_settings

from daemon import contract
from daemon.contract import FlopUnit
from daemon.errors import DeviceError, HarnessError
from daemon.evaluation import CaseEvaluation, RuntimeStats, Timing
from daemon.executor.host.devices import CPU
from daemon.executor.programs import yardstick
from daemon.executor.programs.confinement import Confinement
from daemon.executor.programs.jobs import Judge
from daemon.executor.tools import ceilings, roofline
from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.rates import Rater, declared
from daemon.executor.tools.roofline import Work
from daemon.verdict import Verdict

TOP = Ceilings(bytes_per_s=4e12, operations_per_s={"float32": 50e12, "tensor_bf16": 800e12})


def timing(mean_ms: float) -> Timing:
    figures = dict.fromkeys(RuntimeStats.model_fields, mean_ms)
    return Timing(
        stats=RuntimeStats.model_validate(figures),
        interval_ms=(mean_ms, mean_ms),
        mode="graph",
        samples_ms=(mean_ms,),
        calls=(1,),
        c0_us=0,
        c0_slope_us=0,
        rse=None,
        target_rse=0.01,
        stop="time",
        labels=("throttled",),
    )


def rated(mean_ms: float, top: Ceilings | None = TOP, counted: dict[str, Any] | None = None, **work: Any) -> Timing:
    """A time of a contract that declares `work`."""
    rater = Rater(declared(contract.Work(**work)) if work else None, lambda: top)
    return rater.rated(timing(mean_ms), counted or {})


def test_the_floor_is_what_takes_longer_of_bytes_and_operations() -> None:
    by_memory = rated(2e-3, bytes=4_000_000, flops=1000)
    assert (by_memory.limiting_side, by_memory.speed_of_light_pct) == ("memory", pytest.approx(50))
    by_arithmetic = rated(0.2, bytes=4_000_000, flops=80_000_000_000, unit=FlopUnit.TENSOR_BF16)
    assert (by_arithmetic.limiting_side, by_arithmetic.speed_of_light_pct) == ("tensor_bf16", pytest.approx(50))


def test_rates_are_the_work_over_the_time() -> None:
    found = rated(0.5, bytes=3_000_000, flops=7_000_000)
    assert found.gb_per_s == pytest.approx(3e6 / 0.5e-3 / 1e9)
    assert found.tflop_per_s == pytest.approx(7e6 / 0.5e-3 / 1e12)
    assert found.work_source == "declared"


def test_what_was_not_declared_is_null_and_not_zero() -> None:
    copy = rated(1.0, bytes=1000)
    assert (copy.tflop_per_s, copy.limiting_side) == (None, "memory")
    product = rated(1.0, flops=1000, bytes=0)
    assert (product.gb_per_s, product.limiting_side) == (None, "float32")


@pytest.mark.parametrize("work", [{}, {"bytes": 0}, {"bytes": 0, "flops": 0}])
def test_no_work_leaves_a_time_as_it_is(work: dict[str, int]) -> None:
    assert rated(1.0, **work) == timing(1.0)


def test_what_was_counted_wins_and_the_result_says_so() -> None:
    counted = roofline.metrics(Work(8e6, {}), TOP, 4e-6)
    found = rated(4e-3, counted=counted, bytes=1, flops=1)
    assert found.work_source == "counted"
    assert (found.gb_per_s, found.tflop_per_s) == (pytest.approx(2000), None)
    assert found.speed_of_light_pct == pytest.approx(50)


@pytest.mark.parametrize("counted", [{}, roofline.metrics(Work(None, {}), TOP, 1e-6)])
def test_where_nothing_was_counted_the_declaration_counts(counted: dict[str, Any]) -> None:
    assert rated(1.0, counted=counted, bytes=1000).work_source == "declared"


@pytest.mark.parametrize(("mean_ms", "below"), [(0.5e-3, True), (0.95e-3, False), (2e-3, False)])
def test_a_time_below_the_declared_floor_is_labelled(mean_ms: float, below: bool) -> None:
    found = rated(mean_ms, bytes=4_000_000)
    assert found.labels == (("throttled", "below_floor") if below else ("throttled",))


def test_without_ceilings_there_are_rates_and_a_note() -> None:
    rater = Rater(Work(1000.0, {}), lambda: None)
    for _ in range(2):
        found = rater.rated(timing(1.0), {})
    assert found.gb_per_s is not None
    assert (found.speed_of_light_pct, found.limiting_side) == (None, None)
    assert len(rater.notes) == 1
    assert "could not be measured" in rater.notes[0]


def test_a_unit_without_a_rate_is_named_and_left_out_of_the_share() -> None:
    rater = Rater(Work(4e6, {"tensor_fp64": 1e30}), lambda: TOP)
    found = rater.rated(timing(2e-3), {})
    assert (found.limiting_side, found.speed_of_light_pct) == ("memory", pytest.approx(50))
    assert "tensor_fp64" in rater.notes[0]


def test_the_largest_declaration_there_can_be_gives_finite_figures() -> None:
    found = rated(1e-6, bytes=2**63 - 1, flops=2**63 - 1)
    assert Timing.model_validate_json(found.model_dump_json()) == found


# -- in real cells ------------------------------------------------------------------------------------------------

Declared = Callable[..., CaseEvaluation]
N = 4096
ARGS = io(tensor("a", ["N"]), tensor("b", ["N"]), tensor("y", ["N"], role="output"))
SOURCE = "def add(a, b, y):\n    torch.add(a, b, out=y)\n"
SIDE = kernel(SOURCE, io=ARGS, metadata={"function_name": "add"})
BOTH: Doc = compare(SIDE, SIDE, cases=[{"name": "one", "bind": {"N": N}}], timeout=300)


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    settings = small_settings(tmp_path_factory.mktemp("evald"), sandbox={"uid_base": cell_uid(4)})
    judge = Judge(Confinement(settings, 0, CPU))
    yield judge
    judge.close()


@pytest.fixture
def judged(judge: Judge, tmp_path: Path) -> Declared:
    """Judge a contract; `top` stands for what the device can do, where it need not be measured."""

    def one(doc: Doc, top: Callable[[], Ceilings | None] | None = None) -> CaseEvaluation:
        bench = judge._bench
        judge._bench = bench if top is None else replace(bench, ceilings=top)
        try:
            [case] = judge.evaluate(write_bundle(tmp_path, doc, {}), lambda *_: None).cases
        finally:
            judge._bench = bench
        return case

    return one


@pytest.mark.sandbox
def test_a_contract_that_declares_work_gets_figures_for_both_sides(judge: Judge, judged: Declared) -> None:
    case = judged({**BOTH, "work": {"bytes": "12*N", "flops": "N"}})
    assert case.verdict is Verdict.PASSED
    known = ceilings.kept(judge._settings.paths.state / "ceilings" / "cpu.json", CPU, *_counts_for(judge))
    assert known is not None, "measured in cells, and kept"
    for found in (case.timing, case.ref_timing):
        assert found is not None
        time_s = found.stats.mean / 1e3
        floors = {"memory": 12 * N / known.bytes_per_s, "float32": N / known.operations_per_s["float32"]}
        assert found.gb_per_s == pytest.approx(12 * N / time_s / 1e9)
        assert found.tflop_per_s == pytest.approx(N / time_s / 1e12)
        assert found.speed_of_light_pct == pytest.approx(100 * max(floors.values()) / time_s)
        assert found.limiting_side == max(floors, key=lambda side: floors[side])
        assert found.work_source == "declared"
    assert not any(note.startswith("work:") for note in case.notes)


def _counts_for(judge: Judge) -> tuple[str | None, int | None]:
    return judge._yardstick._torch, judge._yardstick._threads


@pytest.mark.sandbox
def test_a_contract_that_declares_nothing_asks_for_nothing(judged: Declared) -> None:
    def never() -> Ceilings | None:
        raise AssertionError("nobody asked for it")

    case = judged(evaluate(ADD), never)
    assert case.verdict is Verdict.PASSED
    assert case.timing is not None
    new = {"gb_per_s", "tflop_per_s", "speed_of_light_pct", "limiting_side", "work_source"}
    assert set(case.timing.model_dump(include=new).values()) == {None}


@pytest.mark.sandbox
def test_an_absurd_declaration_is_labelled_and_changes_no_verdict(judged: Declared) -> None:
    case = judged({**BOTH, "work": {"bytes": 2**63 - 1}}, lambda: TOP)
    assert case.verdict is Verdict.PASSED
    for found in (case.timing, case.ref_timing):
        assert found is not None
        assert "below_floor" in found.labels
        assert found.speed_of_light_pct is not None
        assert found.speed_of_light_pct > 100


@pytest.mark.sandbox
def test_ceilings_that_cannot_be_measured_are_a_note_and_no_verdict(
    judge: Judge, judged: Declared, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def failing(_: object, contract: dict[str, Any]) -> float | None:
        asked.append(contract["name"])
        raise HarnessError("no cell can be had")

    monkeypatch.setattr(yardstick.Yardstick, "_time_ms", failing)
    lost = yardstick.Yardstick(judge._bench, "another torch", 1)
    for _ in range(2):
        case = judged({**BOTH, "work": {"bytes": "12*N"}}, lost.ceilings)
        assert case.verdict is Verdict.PASSED
        assert any("could not be measured" in note for note in case.notes)
        assert case.timing is not None
        assert case.timing.gb_per_s is not None
        assert case.timing.speed_of_light_pct is None
    assert asked == ["ceiling-copy-float32"], "and are not tried again for every case"


def test_a_sick_device_is_not_hidden_behind_a_note(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_: object, contract: dict[str, Any]) -> float | None:
        raise DeviceError(f"fell off the bus at {contract['name']}")

    monkeypatch.setattr(yardstick.Yardstick, "_time_ms", failing)
    with pytest.raises(DeviceError):
        yardstick.Yardstick(judge._bench, "another torch", 1).ceilings()


def test_measuring_a_device_never_asks_for_what_it_measures(judge: Judge) -> None:
    bench = replace(judge._bench, settings=judge._settings.model_copy(update={"metrics": "always"}))
    own = yardstick.Yardstick(bench, None, 1)._bench
    assert own.settings.metrics == "never"
    assert own.ceilings() is None
