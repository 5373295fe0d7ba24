"""compute-sanitizer's output, read. The fixtures are written here, in the format of its manual and of public logs."""

from __future__ import annotations

import time

import pytest

from daemon.contract import Check
from daemon.evaluation import CheckReport
from daemon.executor.tools import sanitizer
from daemon.verdict import Verdict

OUT_OF_BOUNDS = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 4 bytes
=========     at scale(float *, int)+0xb0 in kernel.cu:21
=========     by thread (100,0,0) in block (2,0,0)
=========     Access to 0x7f48d8800190 is out of bounds
=========     and is 1 bytes after the nearest allocation at 0x7f48d8800000 of size 400 bytes
=========
========= Invalid __shared__ read of size 4 bytes
=========     at 0x148 in kernel.cu:9:scale(float *, int)
=========     by thread (1,0,0) in block (0,0,0)
=========     Address 0x1f4 is out of bounds
=========
========= ERROR SUMMARY: 241 errors
"""
RACE = """========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at reduce(int *, int *)+0xf0 in race.cu:12
=========     and Read access at reduce(int *, int *)+0xd0 in race.cu:14 [32 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)
"""
RACE_WARNING = """========= COMPUTE-SANITIZER
========= Warning: Race reported between Read access at reduce(int *)+0xf0
=========     and Write access at reduce(int *)+0xd0 [4 hazards]
=========
========= RACECHECK SUMMARY: 1 hazard displayed (0 errors, 1 warning)
"""
UNINITIALISED = """========= COMPUTE-SANITIZER
========= Uninitialized __global__ memory read of size 4 bytes
=========     at add(int *)+0x70
=========     by thread (31,0,0) in block (1,0,0)
=========     Address 0x7f3c7ec000fc
=========
========= ERROR SUMMARY: 1 error
"""
BARRIER = """========= COMPUTE-SANITIZER
========= Barrier error detected. Divergent thread(s) in block.
=========     at sync(int *)+0xa0 in sync.cu:61
=========     by thread (19,0,0) in block (0,0,0)
=========
========= ERROR SUMMARY: 1 error
"""
CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"


def is_clean(report: CheckReport) -> bool:
    """It ended, and found no error."""
    return report.completed and not report.errors


def test_memcheck_says_where_and_who() -> None:
    report = sanitizer.read(Check.MEMCHECK, OUT_OF_BOUNDS)
    first, second = report.findings
    assert (report.completed, report.errors, is_clean(report)) == (True, 241, False)
    assert (first.kernel, first.source) == ("scale(float *, int)", "kernel.cu:21")
    assert (first.thread, first.block, first.address) == ("(100,0,0)", "(2,0,0)", "0x7f48d8800190")
    assert "1 bytes after the nearest allocation" in first.message
    assert (second.kernel, second.source, second.address) == ("scale(float *, int)", "kernel.cu:9", "0x1f4")


@pytest.mark.parametrize(
    ("check", "text", "kernel", "source"),
    [
        (Check.RACECHECK, RACE, "reduce(int *, int *)", "race.cu:12"),
        (Check.INITCHECK, UNINITIALISED, "add(int *)", None),
        (Check.SYNCCHECK, BARRIER, "sync(int *)", "sync.cu:61"),
    ],
)
def test_the_other_tools_are_read_too(check: Check, text: str, kernel: str, source: str | None) -> None:
    report = sanitizer.read(check, text)
    assert report.completed
    assert report.errors == 1
    [finding] = report.findings
    assert (finding.check, finding.kernel, finding.source, finding.is_warning) == (str(check), kernel, source, False)


def test_a_warning_of_racecheck_is_reported_and_counts_as_no_error() -> None:
    report = sanitizer.read(Check.RACECHECK, RACE_WARNING)
    assert report.findings[0].is_warning
    assert is_clean(report)


@pytest.mark.parametrize(
    ("check", "kernel", "verdict"),
    [
        (Check.RACECHECK, "nvjet_sm90_tst_128x64_64x8_1x2_h_bz_NNT", Verdict.UNSUPPORTED),
        (Check.INITCHECK, "void at::native::vectorized_elementwise_kernel<(int)8>(int, T2, T3)", Verdict.UNSUPPORTED),
        (Check.MEMCHECK, "nvjet_sm90_tst_128x64_64x8_1x2_h_bz_NNT", Verdict.RUNTIME_ERROR),
        (Check.INITCHECK, "my_nvjet(int *)", Verdict.RUNTIME_ERROR),
    ],
)
def test_what_is_found_in_kernels_of_libraries_leaves_the_question_open(
    check: Check, kernel: str, verdict: Verdict
) -> None:
    text = UNINITIALISED.replace("add(int *)", kernel)
    assert sanitizer.verdict_of([sanitizer.read(check, text)])[0] is verdict  # type: ignore[index]


def test_a_finding_in_a_kernel_of_the_bundle_is_told_first() -> None:
    doubtful = UNINITIALISED.replace("add(int *)", "nvjet_sm90(int *)")
    both = [sanitizer.read(Check.RACECHECK, doubtful), sanitizer.read(Check.INITCHECK, UNINITIALISED)]
    verdict, message = sanitizer.verdict_of(both) or (None, "")
    assert verdict is Verdict.RUNTIME_ERROR
    assert "initcheck" in message


def test_a_clean_run_has_no_findings() -> None:
    report = sanitizer.read(Check.MEMCHECK, CLEAN)
    assert is_clean(report)
    assert report.findings == ()


@pytest.mark.parametrize(
    "text", ["", "========= COMPUTE-SANITIZER\n", "Segmentation fault\n", "ERROR SUMMARY: 0 errors\n"]
)
def test_without_its_sum_a_check_is_not_clean(text: str) -> None:
    report = sanitizer.read(Check.MEMCHECK, text)
    assert not report.completed
    assert not is_clean(report)
    assert report.note


def test_a_second_sum_that_says_nothing_was_found_does_not_take_a_finding_back() -> None:
    assert sanitizer.read(Check.MEMCHECK, OUT_OF_BOUNDS + CLEAN).errors == 241
    forged = OUT_OF_BOUNDS.replace("241 errors", "0 errors")
    assert not is_clean(sanitizer.read(Check.MEMCHECK, forged))


def test_findings_and_their_texts_are_limited_and_printable() -> None:
    one = (
        "========= Invalid __global__ write of size 4 bytes\n=========     at k\x1b[2J"
        + "x" * 10_000
        + "+0x1\n=========\n"
    )
    report = sanitizer.read(Check.MEMCHECK, one * 1000 + "========= ERROR SUMMARY: 1000 errors\n")
    assert len(report.findings) == 50
    assert report.errors == 1000
    assert all(len(finding.message) < 500 and "\x1b" not in finding.message for finding in report.findings)


def test_text_that_is_made_to_be_slow_is_read_at_once() -> None:
    line = "========= Invalid " + "at at x+" * 100_000 + "\n"
    digits = f"========= ERROR SUMMARY: {'9' * 10_000} errors\n"
    start = time.monotonic()
    report = sanitizer.read(Check.MEMCHECK, line * 5 + ("=========     at at x+0" * 10 + "\n") * 20_000 + digits)
    assert report.errors > 0
    assert time.monotonic() - start < 10


@pytest.mark.parametrize("check", list(Check))
def test_the_command_line_runs_one_tool_on_one_process(check: Check) -> None:
    argv = sanitizer.command("/usr/local/cuda/bin/compute-sanitizer", check, "/tmp/report")
    assert argv[1:3] == ["--tool", str(check)]
    assert argv[argv.index("--log-file") + 1] == "/tmp/report"
    assert argv[argv.index("--target-processes") + 1] == "application-only"


def test_calls_that_probe_for_what_there_is_are_no_finding() -> None:
    argv = sanitizer.command("compute-sanitizer", Check.MEMCHECK, "r")
    assert argv[argv.index("--report-api-errors") + 1] == "no"
