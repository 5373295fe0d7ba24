"""What a judge leaves for later: the end of a case that nobody has to wait for, on a GPU. Here on a CPU, on request."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from executor_bundles import compare, forward, write_bundle
from executor_settings import cell_uid, small_settings

import daemon.executor.judge
from daemon.errors import DeviceError
from daemon.evaluation import CaseEvaluation
from daemon.executor.devices import CPU
from daemon.executor.judge import Judge
from daemon.verdict import Phase, Verdict

RIGHT, WRONG = compare(forward("return a + b")), compare(forward("return a - b"))
Doc = dict[str, object]


@pytest.fixture
def judge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    settings = small_settings(tmp_path_factory.mktemp("evald"), sandbox={"uid_base": cell_uid(5)})
    judge = Judge(settings, 0, CPU)
    judge._bench = replace(judge._bench, later=judge._endings.append)
    yield judge
    judge.close()


@pytest.fixture
def judged(judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Doc], CaseEvaluation]:
    def one(doc: Doc) -> CaseEvaluation:
        folder: Path = tmp_path_factory.mktemp("bundle")
        [case] = judge.evaluate(write_bundle(folder, doc, {}), lambda *_: None).cases
        return case

    return one


@pytest.mark.sandbox
def test_the_end_of_a_case_waits_until_the_next_one_begins(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation]
) -> None:
    noisy = compare(forward("print('hello', flush=True); return a + b"))
    case = judged(noisy)
    assert case.verdict is Verdict.PASSED
    assert "hello" in case.stdout_tail, "what it printed is there although nobody has waited for its end"
    assert len(judge._endings) == 1
    assert judged(RIGHT).verdict is Verdict.PASSED
    assert len(judge._endings) == 1, "the first one's has been done"
    judge.finish()
    assert judge._endings == []


@pytest.mark.sandbox
def test_a_case_that_fails_is_over_when_its_result_is_there(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation]
) -> None:
    assert judged(WRONG).verdict is Verdict.WRONG_ANSWER
    assert judge._endings == []


@pytest.mark.parametrize("verdict", [Verdict.OUT_OF_MEMORY, Verdict.UNSUPPORTED])
def test_want_of_memory_beside_the_dead_of_the_case_before_counts_when_it_shows_again(
    judge: Judge,
    judged: Callable[[Doc], CaseEvaluation],
    monkeypatch: pytest.MonkeyPatch,
    verdict: Verdict,
) -> None:
    held: list[bool] = []

    class Hungry:
        def __init__(self, *_: object) -> None:
            held.append(bool(judge._endings))

        def judge(self) -> CaseEvaluation:
            return CaseEvaluation(name="default", verdict=verdict, phase=Phase.LOAD)

    monkeypatch.setattr(daemon.executor.judge, "CaseJudge", Hungry)
    assert judged(RIGHT).verdict is verdict
    assert held == [False], "nobody else held anything: it counts at once"
    judge._endings.append(lambda: None)
    assert judged(RIGHT).verdict is verdict
    assert held == [False, True, False]


def test_an_end_that_fails_is_the_devices_fault_and_keeps_no_other_from_being_done(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation], caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("a process does not die")

    judge._endings += [fail, lambda: done.append("second")]
    with caplog.at_level(logging.ERROR), pytest.raises(DeviceError, match="does not die"):
        judged(RIGHT)
    assert done == ["second"]
