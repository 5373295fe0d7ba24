"""Roofline figures from counters and ceilings, how ceilings are measured and kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from daemon.config import Limits
from daemon.contract import parse_contract
from daemon.executor import catalog
from daemon.executor.host.devices import CPU, Device
from daemon.executor.tools import ceilings, roofline
from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.ncu_report import Launch
from daemon.executor.tools.roofline import Work
from daemon.paths import Paths

GPU = Device(kind="cuda", name="NVIDIA H200", uuid="GPU-1", driver="580.1")
SASS = "smsp__sass_thread_inst_executed_op_{}_pred_on.sum"
TOP = Ceilings(bytes_per_s=4e12, operations_per_s={"float32": 50e12, "tensor_bf16": 800e12})


def launch(**operations: float) -> Launch:
    scalar = {SASS.format(name): count for name, count in operations.items() if not name.startswith("sm__")}
    tensor = {f"{name}.sum": count for name, count in operations.items() if name.startswith("sm__")}
    memory = {"gpu__time_duration.sum": 1e-5, "dram__bytes_read.sum": 3e6, "dram__bytes_write.sum": 1e6}
    return Launch("k", {**memory, **scalar, **tensor})


def test_an_fma_is_two_operations_and_everything_is_per_call() -> None:
    work = roofline.work_of([launch(fadd=10, fmul=20, ffma=30), launch(fadd=10, fmul=20, ffma=30)], 2)
    assert work == Work(bytes=4e6, operations={"float32": 90})


def test_operations_of_tensor_cores_are_the_hardwares_own_count() -> None:
    work = roofline.work_of([launch(sm__ops_path_tensor_src_bf16_dst_fp32=5e9, dfma=1)], 1)
    assert work.operations == {"float64": 2, "tensor_bf16": 5e9}


def test_bytes_that_were_counted_in_part_only_are_unknown() -> None:
    partly = Launch("k", {"dram__bytes_read.sum": 1.0})
    assert roofline.work_of([launch(), partly], 1).bytes is None


def test_a_copy_is_limited_by_memory_and_a_product_by_arithmetic() -> None:
    copy = roofline.metrics(Work(4e6, {"float32": 1e3}), TOP, 2e-6)
    assert (copy["limiting_side"], copy["floor_us"]) == ("memory", pytest.approx(1))
    assert copy["speed_of_light_pct"] == pytest.approx(50)
    assert copy["achieved_gb_per_s"] == pytest.approx(2000)
    product = roofline.metrics(Work(4e6, {"tensor_bf16": 8e10}), TOP, 2e-4)
    assert (product["limiting_side"], product["floor_us"]) == ("tensor_bf16", pytest.approx(100))
    assert product["operations_per_byte"] == pytest.approx(2e4)
    assert product["ceiling_tensor_bf16_tflop_per_s"] == pytest.approx(800)


def test_kinds_of_operations_may_overlap_so_their_floors_are_not_added() -> None:
    both = roofline.metrics(Work(0.0, {"float32": 50e6, "tensor_bf16": 800e6}), TOP, 1e-5)
    assert both["floor_us"] == pytest.approx(1)


def test_without_ceilings_there_are_rates_and_no_share() -> None:
    found = roofline.metrics(Work(4e6, {}), None, 1e-6)
    assert found["achieved_gb_per_s"] == pytest.approx(4000)
    assert "speed_of_light_pct" not in found


def test_a_kind_without_a_ceiling_is_named() -> None:
    assert roofline.metrics(Work(None, {"float16": 1.0}), TOP, 1e-6)["without_ceiling"] == ["float16"]


@pytest.mark.parametrize(("time_s", "below"), [(0.5e-6, True), (0.95e-6, False), (2e-6, False)])
def test_a_time_below_the_floor_is_noticed_beyond_what_ceilings_are_off_by(time_s: float, below: bool) -> None:
    assert roofline.is_below_floor(roofline.metrics(Work(4e6, {}), TOP, time_s), time_s) is below


@pytest.mark.parametrize("threads", [None, 1, 64])
def test_ceilings_are_measured_by_contracts_that_any_host_accepts(threads: int | None) -> None:
    types = catalog.contract_types(catalog.load())
    for name, contract, amount in ceilings.contracts(threads):
        parsed = parse_contract(json.dumps(contract).encode(), {}, types=types, limits=Limits())
        assert parsed.request.kind == "evaluate", name
        assert not parsed.warnings
        assert amount > 0


def test_ceilings_are_rates_and_what_could_not_be_timed_is_not_there() -> None:
    found = ceilings.measure(lambda contract: None if "bfloat16" in contract["name"] else 1.0)
    assert found is not None
    assert found.bytes_per_s == pytest.approx(2 * 4 * 2**28 / 1e-3)
    assert "tensor_bf16" not in found.operations_per_s
    assert found.operations_per_s["float32"] == pytest.approx(2 * 4096**3 / 1e-3)
    assert ceilings.measure(lambda _: None) is None


def test_a_cpu_has_no_ceiling_of_tensor_cores_and_sizes_of_its_own() -> None:
    found = ceilings.measure(lambda _: 1.0, threads=1)
    assert found is not None
    assert found.bytes_per_s == pytest.approx(2 * 4 * 2**24 / 1e-3)
    assert found.operations_per_s == {"float32": pytest.approx(2 * 1024**3 / 1e-3)}


def test_ceilings_of_a_cpu_count_for_its_number_of_threads(tmp_path: Path) -> None:
    path = ceilings.path_of(CPU, Paths(tmp_path, tmp_path, tmp_path, tmp_path / "state"))
    ceilings.keep(path, CPU, "2.11", TOP, 3)
    assert ceilings.kept(path, CPU, "2.11", 3) == TOP
    assert ceilings.kept(path, CPU, "2.11", 4) is None


def test_ceilings_are_kept_for_the_device_and_its_driver(tmp_path: Path) -> None:
    path = ceilings.path_of(GPU, Paths(tmp_path, tmp_path, tmp_path, tmp_path / "state"))
    assert ceilings.kept(path, GPU, "2.11") is None
    ceilings.keep(path, GPU, "2.11", TOP)
    assert ceilings.kept(path, GPU, "2.11") == TOP
    assert ceilings.kept(path, GPU, "2.12") is None
    assert ceilings.kept(path, Device(kind="cuda", name="NVIDIA H200", uuid="GPU-1", driver="590"), "2.11") is None
    path.write_text("{", "utf-8")
    assert ceilings.kept(path, GPU, "2.11") is None
