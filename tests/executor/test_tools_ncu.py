"""ncu's command lines, which metrics are asked for, and what forbids counting."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from daemon.errors import HarnessError
from daemon.executor.host.devices import Device
from daemon.executor.tools import ncu
from daemon.executor.tools.sections import NAMES
from daemon.executor.tools.toolbox import Toolbox, Unavailable

# As columns (2022 to 2025) and as CSV.
LISTING = """Device NVIDIA H200 (GH100)
------------------------------ ------------ ----- ---------------------------------
Metric Name                    Metric Type  Unit  Metric Description
------------------------------ ------------ ----- ---------------------------------
dram__bytes_op_read            Counter      byte  # of bytes read from DRAM
gpu__time_duration             Counter      ns    incremental duration in nanoseconds
"""
AS_CSV = '"Metric Name","Metric Type"\n"dram__bytes_op_read","Counter"\n"gpu__time_duration","Counter"\n'
H200 = Device(kind="cuda", capability=(9, 0))
KNOWN = frozenset(
    {
        "gpu__time_duration",
        "dram__bytes_op_read",
        "dram__bytes_op_write",
        "smsp__sass_thread_inst_executed_op_ffma_pred_on",
    }
)


@pytest.mark.parametrize("listing", [LISTING, AS_CSV])
def test_the_listing_is_read_in_both_forms(listing: str) -> None:
    assert ncu.known_in(listing) == {"dram__bytes_op_read", "gpu__time_duration"}


def test_asking_for_a_chip_by_name_needs_no_gpu() -> None:
    assert ncu.query("/ncu", H200)[-2:] == ["--chips", "gh100"]
    assert "NV_COMPUTE_PROFILER_DISABLE_STOCK_FILE_DEPLOYMENT=1" in ncu.query("/ncu", H200), "nothing goes to the home"
    assert "--chips" not in ncu.query("/ncu", Device(kind="cuda", capability=(99, 0)))


def test_the_first_metric_that_is_known_is_asked_for_and_the_rest_is_absent_with_a_reason() -> None:
    found = ncu.plan(("memory_metrics",), KNOWN)
    assert found.metrics == ("dram__bytes_op_read.sum", "dram__bytes_op_write.sum", "gpu__time_duration.sum")
    assert "does not know" in found.unavailable["lts__t_bytes.sum"]


def test_the_duration_is_asked_for_whatever_the_sections() -> None:
    assert "gpu__time_duration.sum" in ncu.plan(("stall_metrics",), KNOWN).metrics


def test_what_ncu_derives_comes_with_its_sections() -> None:
    found = ncu.plan(("occupancy_metrics",), KNOWN)
    assert set(found.sections) == {"LaunchStats", "Occupancy"}
    assert not any(metric.startswith("launch__") for metric in found.metrics)


def test_operations_of_tensor_cores_are_asked_for_once() -> None:
    known = frozenset({"sm__ops_path_tensor_src_bf16_dst_fp32", "sm__ops_path_tensor_src_bf16_dst_fp32_sparsity_on",
                       "sm__ops_path_tensor_src_int8_dst_int32_sparsity_off",
                       "sm__ops_path_tensor_src_int8_dst_int32_sparsity_on"})  # fmt: skip
    assert ncu.tensor_metrics(known) == [
        "sm__ops_path_tensor_src_bf16_dst_fp32.sum",
        "sm__ops_path_tensor_src_int8_dst_int32_sparsity_off.sum",
        "sm__ops_path_tensor_src_int8_dst_int32_sparsity_on.sum",
    ]


def test_the_command_line_counts_the_bracketed_calls_of_one_process_and_leaves_the_clocks_alone() -> None:
    argv = ncu.command("/opt/ncu", ncu.plan(NAMES, KNOWN), "/tmp/report")
    assert argv[0] == "/opt/ncu"
    assert argv[-1] == "--"
    pairs = dict(itertools.pairwise(argv))
    assert pairs["--log-file"] == "/tmp/report"
    assert pairs["--page"] == "raw"
    assert pairs["--print-units"] == "base"
    assert pairs["--profile-from-start"] == "off"
    assert pairs["--clock-control"] == "none"
    assert pairs["--target-processes"] == "application-only"
    assert pairs["--config-file"] == "off"
    assert "smsp__sass_thread_inst_executed_op_ffma_pred_on.sum" in pairs["--metrics"].split(",")


def test_no_metric_is_asked_for_with_an_empty_list() -> None:
    assert "--metrics" not in ncu.command("ncu", ncu.Plan((), ("LaunchStats",), {}), "r")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ResmanDebugLevel: 4294967295\nRmProfilingAdminOnly: 1\n", True),
        ("RmProfilingAdminOnly: 0\n", False),
        ("", None),
    ],
)
def test_the_drivers_parameters_say_who_may_count(text: str, expected: bool | None) -> None:
    assert ncu.restricted(text) is expected


def test_a_refusal_is_explained_and_other_words_are_passed_on() -> None:
    refusal = "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters"
    assert "evald doctor" in ncu.why_nothing(["==PROF== Connected to process 1", refusal])
    assert "Failed to find metric" in ncu.why_nothing(["==ERROR== Failed to find metric regex:^x$"])
    assert "said nothing" in ncu.why_nothing([])


def test_ncu_is_asked_for_its_metrics_in_a_process_with_a_limit(tmp_path: Path) -> None:
    program = tmp_path / "ncu"
    program.write_text(f"#!/bin/sh\ncat <<'EOT'\n{LISTING}EOT\n", "utf-8")
    program.chmod(0o755)
    assert ncu.known(str(program), H200) == {"dram__bytes_op_read", "gpu__time_duration"}


@pytest.mark.parametrize(("script", "words"), [("exit 1", "exit code 1"), ("echo nothing", "lists no metrics")])
def test_an_ncu_that_lists_nothing_is_an_error_of_ours(tmp_path: Path, script: str, words: str) -> None:
    program = tmp_path / "ncu"
    program.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    program.chmod(0o755)
    with pytest.raises(HarnessError, match=words):
        ncu.known(str(program), H200)
    with pytest.raises(Unavailable):
        Toolbox(H200, program).counters(("timing_metrics",))
