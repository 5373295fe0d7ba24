"""What bundles and tools say fits the message in which the judge answers, whatever they say."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from daemon import result_document
from daemon.evaluation import CaseEvaluation, CheckReport, Evaluation, Finding
from daemon.executor import trusted
from daemon.executor.programs.shortening import shortened
from daemon.executor.shared import protocol
from daemon.verdict import Phase, Verdict

WIDE = "\U0001f600"  # takes twelve bytes in a message
CHECKS = ("memcheck", "racecheck", "initcheck", "synccheck")
REPORTS = (*(f"{check}.txt" for check in CHECKS), "counters-candidate.csv", "counters-reference.csv")


def loud(letter: str, **metrics: Any) -> CaseEvaluation:
    """A case with as many words as the readers of a cell's output and of a tool's report let through."""
    line = letter * 400
    findings = tuple(Finding(check="memcheck", message=line, kernel=line, source=line) for _ in range(50))
    counted = {"detailed_metrics": {f"m{number} [{letter * 40}]": 1 / 3 for number in range(10_000)}, **metrics}
    return CaseEvaluation(
        name="a",
        verdict=Verdict.RUNTIME_ERROR,
        phase=Phase.REPORT,
        stdout_tail=letter * (128 << 10),
        stderr_tail=letter * (128 << 10),
        checks=tuple(CheckReport(check=check, completed=True, errors=77, findings=findings) for check in CHECKS),
        device_metrics={"custom_device_metrics": counted, "original_device_metrics": counted},
        tool_reports=dict.fromkeys(REPORTS, letter * (1 << 20)),
        build={"backend": "x", **{f"lists{number}": [[[[0] * 4000]]] for number in range(5)}},
    )


@pytest.mark.parametrize("cases", [1, 8, 64])
@pytest.mark.parametrize("letter", ["x", "\0", "\n", WIDE], ids=["x", "NUL", "newline", "wide"])
def test_an_answer_fits_its_message_however_its_words_are_escaped(letter: str, cases: int) -> None:
    case = shortened(loud(letter), cases)
    size = len(json.dumps(case.model_dump(mode="json")))
    assert size * cases < trusted._MAX_ANSWER // 4
    assert case.stdout_tail
    assert all(case.tool_reports.values())
    assert all(check.errors == 77 and check.findings for check in case.checks)


@pytest.mark.parametrize("cases", [1, 64])
@pytest.mark.parametrize("letter", ["x", "\0", "\n", WIDE], ids=["x", "NUL", "newline", "wide"])
def test_a_result_takes_at_most_sixteen_megabytes_however_much_there_is_to_say(letter: str, cases: int) -> None:
    """Document and reports together: it was 35."""
    told = (shortened(loud(letter), cases),) * cases
    evaluation = Evaluation(verdict=Verdict.RUNTIME_ERROR, phase=Phase.REPORT, cases=told)
    document = result_document.compose(result_document.Subject("a", "b"), evaluation, datetime.now(UTC))
    reports = [text for case in told for text in case.tool_reports.values()]
    files = [result_document.as_json(document), result_document.dumped(evaluation.model_dump(mode="json")), *reports]
    sizes = [len(text.encode("utf-8", "backslashreplace")) for text in files]
    assert max(sizes[0] + sum(sizes[2:]), sizes[1]) < 16 << 20
    assert all(case.build["backend"] == "x" for case in told)


def test_an_answer_of_one_loud_case_is_read_by_the_daemon() -> None:
    case = shortened(loud(WIDE), 1)
    evaluation = Evaluation(verdict=case.verdict, phase=case.phase, cases=(case,))
    body = json.dumps({"type": "evaluation", "evaluation": evaluation.model_dump(mode="json")}).encode()
    reader = protocol.Reader(trusted._MAX_ANSWER)
    reader.feed(len(body).to_bytes(4, "big") + body)
    message = reader.next()
    assert message is not None
    assert Evaluation.model_validate(message["evaluation"]) == evaluation


def test_the_beginning_of_a_report_stays_and_the_end_of_an_output() -> None:
    long = "first" + "-" * (1 << 20) + "last"
    case = CaseEvaluation(
        name="a", verdict=Verdict.PASSED, phase=Phase.REPORT, stdout_tail=long, tool_reports={"memcheck.txt": long}
    )
    short = shortened(case, 64)
    assert short.tool_reports["memcheck.txt"] == long[: len(short.tool_reports["memcheck.txt"])]
    assert short.stdout_tail == long[-len(short.stdout_tail) :]


def test_counters_that_are_too_many_are_left_out_by_name_and_the_sums_stay() -> None:
    case = loud("x", memory_metrics={"dram_read_bytes": 4000.0}, note="it had not ended when its time was over")
    found = shortened(case, 64).device_metrics["custom_device_metrics"]
    assert found == {
        "memory_metrics": {"dram_read_bytes": 4000.0},
        "note": "it had not ended when its time was over; left out, too large for a result: detailed_metrics",
    }


def test_a_case_that_says_little_stays_as_it_is() -> None:
    metrics = {"custom_device_metrics": {"kernels": [{"kernel": "add"}], "detailed_metrics": {"a": 1.0}}}
    finding = Finding(check="memcheck", message="Invalid __global__ read")
    case = CaseEvaluation(
        name="a",
        verdict=Verdict.PASSED,
        phase=Phase.REPORT,
        stdout_tail="hello\n",
        checks=(CheckReport(check="memcheck", completed=True, errors=1, findings=(finding,)),),
        device_metrics=metrics,
        tool_reports={"memcheck.txt": "========= ERROR SUMMARY: 1 error"},
    )
    assert shortened(case, 64) == case
