"""compute-sanitizer on a real GPU: `pytest tests/gpu/test_gpu_sanitizers.py`. Skipped without a GPU or the tool."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tool_kernels import BEYOND, DIVERGENT, RACE, SCALE, UNINITIALISED, Doc, scale, two_kernels

from daemon.engine import JobSpec
from daemon.evaluation import CaseEvaluation
from daemon.executor.local import LocalEngine
from daemon.executor.tools.installed import find
from daemon.verdict import Verdict

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(find("compute-sanitizer") is None, reason="compute-sanitizer is not installed"),
]
ALL = ["memcheck", "racecheck", "initcheck", "synccheck"]
Check = Callable[[Doc], CaseEvaluation]


@pytest.fixture
def check(engine: LocalEngine, tmp_path: Path) -> Check:
    def checked(doc: Doc) -> CaseEvaluation:
        (tmp_path / "contract.json").write_text(json.dumps(doc), "utf-8")
        [case] = engine.evaluate(JobSpec("checks", "checks", tmp_path), lambda _: None).cases
        for name, text in case.tool_reports.items():
            print(f"--- {name}\n{text[:4000]}")
        return case

    return checked


@pytest.mark.parametrize("name", ALL)
def test_a_right_kernel_is_clean(check: Check, name: str) -> None:
    case = check(scale(SCALE, checks=[name]))
    assert case.verdict is Verdict.PASSED, case.failure
    assert (case.checks[0].completed, case.checks[0].errors) == (True, 0)


@pytest.mark.parametrize("name", ALL)
def test_a_torch_module_is_clean_or_its_library_cannot_be_looked_into(check: Check, name: str) -> None:
    case = check(two_kernels(checks=[name]))
    if case.verdict is not Verdict.PASSED:
        assert name in ("racecheck", "initcheck")
        assert case.verdict is Verdict.UNSUPPORTED, case.failure
        assert case.failure is not None
        assert "in kernels of a library" in case.failure.message


@pytest.mark.parametrize(
    ("name", "source"),
    [("memcheck", BEYOND), ("racecheck", RACE), ("initcheck", UNINITIALISED), ("synccheck", DIVERGENT)],
)
def test_a_mistake_that_changes_no_answer_fails_the_bundle_that_asked(check: Check, name: str, source: str) -> None:
    assert check(scale(source)).verdict is Verdict.PASSED, "without the check it passes"
    case = check(scale(source, checks=[name]))
    assert case.verdict is Verdict.RUNTIME_ERROR, case.failure
    finding = case.checks[0].findings[0]
    assert finding.kernel is not None
    assert finding.kernel.startswith("scale")
    assert finding.source is not None, "compiled with -lineinfo"
