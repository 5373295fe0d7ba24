"""Kernels below tools, in real cells on the CPU. The tools are stand-ins: shell scripts that take the options of the
real ones, run the program below them, and leave a report in the same format."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from executor_bundles import ADD, Doc, compare, evaluate, write_bundle
from executor_settings import cell_uid, small_settings
from test_tools_counters import BANNER, DURATION, READ, WRITTEN, table
from test_tools_sanitizer import CLEAN, OUT_OF_BOUNDS

from daemon.config import Deadlines, Settings
from daemon.evaluation import CaseEvaluation
from daemon.executor.cells.starting import Cells, Tool
from daemon.executor.host.devices import CPU
from daemon.executor.programs.confinement import Confinement
from daemon.executor.programs.jobs import Judge
from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.toolbox import Toolbox
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

KERNEL: Doc = evaluate(ADD)
COUNTED = BANNER + table(
    {DURATION: "ns", READ: "byte", WRITTEN: "byte"}, ("add", "1000", "4000", "2000"), ("add", "1000", "4000", "2000")
)
KNOWN = frozenset({"gpu__time_duration", "dram__bytes_read", "dram__bytes_write"})
STAND_IN = """#!/bin/sh
while [ "$1" != "{python}" ]; do
    [ "$1" = "--log-file" ] && report="$2"
    shift
done
{before}
"$@"
code=$?
[ -n "$report" ] && cat {folder}/report.txt > "$report"
exit $code
"""
Inspect = Callable[..., CaseEvaluation]


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    home = tmp_path_factory.mktemp("evald")
    settings = small_settings(home, sandbox={"uid_base": cell_uid(3)}, deadlines=Deadlines(build_s=60, start_s=300))
    judge = Judge(Confinement(settings, 0, CPU))
    yield judge
    judge.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tools lie. Always the same: cells that see other folders are forked from another zygote."""
    made = tmp_path_factory.mktemp("tools")
    made.chmod(0o755)
    return made


@pytest.fixture
def not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cells below tools are there soon, or not at all."""
    under = Cells.under

    def soon(cells: Cells, tool: Tool, report_fd: int) -> Cells:
        made = under(cells, tool, report_fd)
        with made._zygotes.lock:  # which may take its time
            made._zygotes.of(made._policy(), made.settings.start_s).await_ready()
        made.settings = replace(made.settings, start_s=5)
        return made

    monkeypatch.setattr(Cells, "under", soon)


@pytest.fixture
def inspect(judge: Judge, tmp_path: Path, folder: Path) -> Inspect:
    """Judge a contract with stand-ins for the tools; `report` is what they leave, `before` what they do first."""

    def judged(
        doc: Doc, *, report: str = "", before: str = "", metrics: str = "asked", **deadlines: float
    ) -> CaseEvaluation:
        (folder / "report.txt").write_text(report, "utf-8")
        script = folder / "tool"
        script.write_text(STAND_IN.format(python=sys.executable, folder=folder, before=before), "utf-8")
        script.chmod(0o755)
        bench = judge._bench
        limits = bench.settings.deadlines.model_copy(update=deadlines)
        settings: Settings = bench.settings.model_copy(update={"metrics": metrics, "deadlines": limits})
        judge._bench = replace(
            bench,
            settings=settings,
            tools=Toolbox(CPU, script, script, KNOWN),
            ceilings=lambda: Ceilings(bytes_per_s=1e6),
        )
        try:
            [case] = judge.evaluate(write_bundle(tmp_path, doc, {}), lambda *_: None).cases
        finally:
            judge._bench = bench
        return case

    return judged


def test_counters_come_from_a_launch_of_their_own_and_change_no_verdict(inspect: Inspect) -> None:
    case = inspect({**KERNEL, "metrics": True}, report=COUNTED)
    assert case.verdict is Verdict.PASSED
    found = case.device_metrics["custom_device_metrics"]
    assert found["memory_metrics"]["dram_read_bytes"] == 4000
    assert found["kernels"][0]["kernel"] == "add"
    assert found["roofline_metrics"]["limiting_side"] == "memory"
    assert found["roofline_metrics"]["floor_us"] == pytest.approx(6000)
    assert case.tool_reports["counters-candidate.csv"] == COUNTED


def test_a_time_below_the_physical_floor_is_labelled(inspect: Inspect) -> None:
    """The floor is an hour, which no load of this machine makes the kernel take."""
    an_hour = BANNER + table({DURATION: "ns", READ: "byte", WRITTEN: "byte"}, ("add", "1000", str(7 * 10**9), "2000"))
    case = inspect({**KERNEL, "metrics": ["roofline_metrics"]}, report=an_hour)
    assert case.timing is not None
    assert case.timing.speed_of_light_pct is not None
    assert case.timing.speed_of_light_pct > 100
    assert "below_floor" in case.timing.labels


def test_both_sides_of_a_compare_are_counted(inspect: Inspect) -> None:
    case = inspect(compare(ADD, metrics=True), report=COUNTED)
    assert case.verdict is Verdict.PASSED
    assert set(case.device_metrics) == {"original_device_metrics", "custom_device_metrics"}


def test_nothing_is_counted_that_nobody_asked_for(inspect: Inspect) -> None:
    assert inspect(KERNEL, report=COUNTED).device_metrics == {}


def test_the_setting_counts_for_every_contract_or_for_none(inspect: Inspect) -> None:
    assert "custom_device_metrics" in inspect(KERNEL, report=COUNTED, metrics="always").device_metrics


def test_the_setting_never_wins_over_the_contract(inspect: Inspect) -> None:
    assert inspect({**KERNEL, "metrics": True}, report=COUNTED, metrics="never").device_metrics == {}


@pytest.mark.usefixtures("not_waited_for")
@pytest.mark.parametrize("before", ["exit 3", "kill -9 $$", "exec sleep 600"])
def test_a_profiler_that_fails_or_hangs_changes_no_verdict(inspect: Inspect, before: str) -> None:
    case = inspect({**KERNEL, "metrics": True}, before=before, metrics_s=8)
    assert case.verdict is Verdict.PASSED
    assert case.timing is not None
    assert "did not start" in case.device_metrics["custom_device_metrics"]["unsupported"]


def test_a_profiler_that_may_not_count_says_what_to_do(inspect: Inspect) -> None:
    refusal = (
        "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters\n"
    )
    case = inspect({**KERNEL, "metrics": True}, report=refusal)
    assert case.verdict is Verdict.PASSED
    assert "evald doctor" in case.device_metrics["custom_device_metrics"]["unsupported"]


def test_a_clean_check_leaves_the_verdict(inspect: Inspect) -> None:
    case = inspect({**KERNEL, "checks": ["memcheck", "racecheck"]}, report=CLEAN)
    assert case.verdict is Verdict.PASSED
    assert [(report.check, report.completed, report.errors) for report in case.checks] == [
        ("memcheck", True, 0),
        ("racecheck", True, 0),
    ]


def test_a_finding_fails_a_bundle_whose_answers_are_right(inspect: Inspect) -> None:
    case = inspect({**KERNEL, "checks": ["memcheck"]}, report=OUT_OF_BOUNDS)
    assert case.verdict is Verdict.RUNTIME_ERROR
    assert case.trials_passed == case.trials_total
    assert case.failure is not None
    assert "memcheck found 241 errors: Invalid __global__ write of size 4 bytes" in case.failure.message
    assert case.checks[0].findings[0].source == "kernel.cu:21"


def test_a_check_that_leaves_no_report_is_no_pass(inspect: Inspect) -> None:
    case = inspect({**KERNEL, "checks": ["memcheck"]})
    assert case.verdict is Verdict.UNSUPPORTED
    assert case.failure is not None
    assert "memcheck could not be carried out" in case.failure.message


@pytest.mark.usefixtures("not_waited_for")
@pytest.mark.parametrize("before", ["exit 0", "exec sleep 600"])
def test_a_check_that_does_not_come_to_its_end_is_no_pass(inspect: Inspect, before: str) -> None:
    case = inspect({**KERNEL, "checks": ["memcheck"]}, before=before, check_s=8)
    assert case.verdict is Verdict.UNSUPPORTED
    assert case.failure is not None
    assert "memcheck could not be carried out" in case.failure.message


HIDING = """
    import os, time
    class Model(nn.Module):
        def forward(self, a, b):
            if os.getppid() != 1 and "evald-report" in open(f"/proc/{os.getppid()}/cmdline").read():
                {misbehave}
            return a + b
    def get_inputs():
        return [torch.randn(64, 8), torch.randn(64, 8)]
    """


@pytest.mark.parametrize(
    "misbehave",
    [
        "os._exit(0)",
        pytest.param("time.sleep(600)", marks=pytest.mark.thorough),
        pytest.param("raise MemoryError", marks=pytest.mark.thorough),
        "os.kill(os.getppid(), 9)",
    ],
)
def test_a_kernel_that_notices_the_sanitizer_and_stops_it_does_not_pass(inspect: Inspect, misbehave: str) -> None:
    doc = evaluate(HIDING.replace("{misbehave}", misbehave), checks=["memcheck"])
    case = inspect(doc, report=CLEAN, check_s=15)
    assert case.verdict is not Verdict.PASSED


def test_a_wrong_answer_is_not_checked_and_stays_one(inspect: Inspect) -> None:
    doc = compare(ADD.replace("a + b", "a - b"), checks=["memcheck"], metrics=True)
    case = inspect(doc, report=CLEAN)
    assert case.verdict is Verdict.WRONG_ANSWER
    assert case.checks == ()
    assert case.device_metrics == {}


def test_without_the_tools_metrics_say_why_and_checks_are_unsupported(judge: Judge, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, {**KERNEL, "metrics": True}, {})
    [case] = judge.evaluate(bundle, lambda *_: None).cases
    assert case.verdict is Verdict.PASSED
    assert "takes an NVIDIA GPU" in case.device_metrics["unsupported"]
    bundle = write_bundle(tmp_path, {**KERNEL, "metrics": ["speed_of_lite", "zzz"]}, {})
    [case] = judge.evaluate(bundle, lambda *_: None).cases
    assert "metrics: there is no section 'speed_of_lite'; did you mean 'speed_of_light'?" in case.notes
    assert any("no section 'zzz'; there are speed_of_light, " in note for note in case.notes)
    bundle = write_bundle(tmp_path, {**KERNEL, "checks": ["memcheck"]}, {})
    [case] = judge.evaluate(bundle, lambda *_: None).cases
    assert case.verdict is Verdict.UNSUPPORTED
    assert case.failure is not None
    assert "takes an NVIDIA GPU" in case.failure.message


def test_what_a_tool_left_is_cut_by_what_it_takes_in_the_message_to_the_daemon(inspect: Inspect) -> None:
    case = inspect({**KERNEL, "checks": ["memcheck"]}, report="\U0001f600" * (1 << 20))
    assert 0 < len(json.dumps(case.tool_reports["memcheck.txt"])) <= 4 << 20
