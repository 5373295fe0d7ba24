"""Whose fault the end of a case was, told without judging one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.errors import HarnessError
from daemon.evaluation import Failure
from daemon.executor.cases.blame import verdict_on
from daemon.executor.cases.fullness import consequence
from daemon.executor.cells.endings import CellFailed
from daemon.verdict import Phase, Side, Verdict


def ended(verdict: Verdict, side: Side, phase: Phase = Phase.CHECK) -> CellFailed:
    return CellFailed(verdict, Failure(phase=phase, side=side, message="it ended"))


@pytest.mark.parametrize(
    ("outcome", "verdict", "message"),
    [
        (ended(Verdict.WRONG_ANSWER, Side.CANDIDATE), Verdict.WRONG_ANSWER, "it ended; own weights"),
        (ended(Verdict.RUNTIME_ERROR, Side.CANDIDATE), Verdict.RUNTIME_ERROR, "it ended"),
        (ended(Verdict.RUNTIME_ERROR, Side.CANDIDATE, Phase.LOAD), Verdict.COMPILE_ERROR, "it ended"),
        (ended(Verdict.UNSUPPORTED, Side.REFERENCE), Verdict.UNSUPPORTED, "it ended"),
        (
            ended(Verdict.RUNTIME_ERROR, Side.REFERENCE, Phase.LOAD),
            Verdict.REJECTED,
            "the reference is at fault (runtime_error): it ended",
        ),
        (
            ended(Verdict.TIMEOUT, Side.REFERENCE),
            Verdict.REJECTED,
            "the reference is at fault (timeout): it ended",
        ),
    ],
)
def test_a_candidate_answers_for_itself_and_a_reference_makes_its_bundle_unusable(
    outcome: CellFailed, verdict: Verdict, message: str
) -> None:
    found, failure = verdict_on(outcome, None, "own weights")
    assert (found, failure.message, failure.side) == (verdict, message, outcome.failure.side)


def test_a_candidate_that_has_used_the_time_is_to_blame_for_a_reference_that_has_none_left() -> None:
    verdict, failure = verdict_on(ended(Verdict.TIMEOUT, Side.REFERENCE), 30.0, "")
    assert (verdict, failure.side) == (Verdict.TIMEOUT, Side.CANDIDATE)
    assert failure.message == "the candidate's calls had used most of the contract's 30 s: it ended"


def dead(*, oom_killed: bool = False, from_outside: bool = False) -> Any:
    end = SimpleNamespace(oom_killed=oom_killed, from_outside=from_outside)
    return SimpleNamespace(ended=end, kill=lambda: end)


def test_a_wrong_answer_beside_a_process_that_was_killed_for_want_of_memory_came_of_that() -> None:
    wrong, sound, short = ended(Verdict.WRONG_ANSWER, Side.CANDIDATE), dead(), dead(oom_killed=True)
    for cells, side in (
        ({Side.REFERENCE: sound, Side.CANDIDATE: short}, Side.CANDIDATE),
        ({Side.REFERENCE: short, Side.CANDIDATE: sound}, Side.REFERENCE),
        ({Side.REFERENCE: short, Side.CANDIDATE: short}, Side.CANDIDATE),
    ):
        found = consequence(wrong, cells)
        assert (found.verdict, found.failure.side) == (Verdict.OUT_OF_MEMORY, side)
        assert found.failure.message.endswith("what came of that: it ended")


def test_what_was_wrong_or_failed_with_all_its_processes_stays_what_it_is() -> None:
    wrong, failed = ended(Verdict.WRONG_ANSWER, Side.CANDIDATE), ended(Verdict.RUNTIME_ERROR, Side.CANDIDATE)
    assert consequence(wrong, {Side.REFERENCE: dead(), Side.CANDIDATE: dead()}) is wrong
    assert consequence(failed, {Side.CANDIDATE: dead(oom_killed=True)}) is failed


def test_a_wrong_answer_beside_a_process_that_was_killed_from_outside_is_nobodys() -> None:
    with pytest.raises(HarnessError, match="the reference's was killed from outside"):
        consequence(ended(Verdict.WRONG_ANSWER, Side.CANDIDATE), {Side.REFERENCE: dead(from_outside=True)})
