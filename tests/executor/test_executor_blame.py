"""Whose fault the end of a case was, told without judging one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.errors import HarnessError
from daemon.evaluation import Failure
from daemon.executor.cases import fullness
from daemon.executor.cases.blame import verdict_on
from daemon.executor.cases.fullness import blamed, consequence, device_full, host_full
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
    assert failure.message == "the candidate had used most of the contract's 30 s: it ended"


def dead(side: Side, *, oom_killed: bool = False, from_outside: bool = False) -> Any:
    end = SimpleNamespace(oom_killed=oom_killed, from_outside=from_outside)
    return SimpleNamespace(side=side, ended=end, kill=lambda: end)


def test_a_wrong_answer_beside_a_process_that_was_killed_for_want_of_memory_came_of_that() -> None:
    wrong = ended(Verdict.WRONG_ANSWER, Side.CANDIDATE)
    for of_reference, of_candidate, side in (
        (False, True, Side.CANDIDATE),
        (True, False, Side.REFERENCE),
        (True, True, Side.CANDIDATE),
    ):
        cells = [dead(Side.REFERENCE, oom_killed=of_reference), dead(Side.CANDIDATE, oom_killed=of_candidate)]
        found = consequence(wrong, cells)
        assert (found.verdict, found.failure.side) == (Verdict.OUT_OF_MEMORY, side)
        assert found.failure.message.endswith("what came of that: it ended")


def test_what_was_wrong_or_failed_with_all_its_processes_stays_what_it_is() -> None:
    wrong, failed = ended(Verdict.WRONG_ANSWER, Side.CANDIDATE), ended(Verdict.RUNTIME_ERROR, Side.CANDIDATE)
    assert consequence(wrong, [dead(Side.REFERENCE), dead(Side.CANDIDATE)]) is wrong
    assert consequence(failed, [dead(Side.CANDIDATE, oom_killed=True)]) is failed


def test_a_wrong_answer_beside_a_process_that_was_killed_from_outside_is_nobodys() -> None:
    with pytest.raises(HarnessError, match="the reference's was killed from outside"):
        consequence(ended(Verdict.WRONG_ANSWER, Side.CANDIDATE), [dead(Side.REFERENCE, from_outside=True)])


class Device:
    """Of 100 GiB, of which the judge holds `judge` and each cell what it is given, until it is killed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, judge: int, *cells: tuple[Side, int]) -> None:
        self._judge = judge
        self._held = {number: gib for number, (_, gib) in enumerate(cells)}
        self.cells: list[Any] = [
            SimpleNamespace(side=side, kill=lambda number=number: self._held.pop(number))
            for number, (side, _) in enumerate(cells)
        ]
        monkeypatch.setattr(fullness.torch.cuda, "mem_get_info", self._mem_get_info)
        monkeypatch.setattr(fullness.torch.cuda, "empty_cache", lambda: None)

    def _mem_get_info(self) -> tuple[int, int]:
        return (100 - self._judge - sum(self._held.values())) << 30, 100 << 30

    @property
    def living(self) -> int:
        return len(self._held)


FULL = RuntimeError("CUDA out of memory. Tried to allocate 8.00 GiB. GPU 0 has a total capacity of 100 GiB")


@pytest.mark.parametrize(
    ("judge", "reference", "candidate", "verdict", "side"),
    [
        (20, 10, 60, Verdict.OUT_OF_MEMORY, Side.CANDIDATE),
        (20, 60, 10, Verdict.OUT_OF_MEMORY, Side.REFERENCE),
        (50, 30, 15, Verdict.UNSUPPORTED, Side.CANDIDATE),
        (40, 30, 25, Verdict.OUT_OF_MEMORY, Side.REFERENCE),
    ],
)
def test_who_holds_most_of_a_full_device_is_to_blame_and_nobody_where_that_is_the_judge(
    monkeypatch: pytest.MonkeyPatch, judge: int, reference: int, candidate: int, verdict: Verdict, side: Side
) -> None:
    device = Device(monkeypatch, judge, (Side.REFERENCE, reference), (Side.CANDIDATE, candidate))
    found = device_full(device.cells, FULL)
    assert (found.verdict, found.failure.side, found.failure.phase) == (verdict, side, Phase.MEASURE)
    assert device.living == 0
    assert f"The judge held {judge}.0 GiB, the reference {reference}.0 GiB" in found.failure.message
    assert f"the candidate {candidate}.0 GiB" in found.failure.message
    assert "Tried to allocate 8.00 GiB." in found.failure.message
    assert ("a device of 100 GiB" in found.failure.message) == (verdict is Verdict.UNSUPPORTED)


def test_what_makes_the_inputs_holds_memory_for_the_side_whose_source_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    for side in Side:
        device = Device(monkeypatch, 20, (Side.REFERENCE, 30), (Side.CANDIDATE, 30), (side, 10))
        found = device_full(device.cells, FULL)
        assert (found.verdict, found.failure.side) == (Verdict.OUT_OF_MEMORY, side)
        assert "The judge held 20.0 GiB" in found.failure.message
        assert f"the {side} 40.0 GiB" in found.failure.message
        assert device.living == 0


def test_a_reference_that_finds_no_memory_is_not_to_blame_where_the_candidate_has_most_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = ended(Verdict.OUT_OF_MEMORY, Side.REFERENCE)
    device = Device(monkeypatch, 10, (Side.REFERENCE, 5), (Side.CANDIDATE, 60))
    found = blamed(short, device.cells)
    assert (found.verdict, found.failure.side) == (Verdict.OUT_OF_MEMORY, Side.CANDIDATE)
    assert "held 60.0 of 100.0 GiB" in found.failure.message
    assert blamed(short, Device(monkeypatch, 30, (Side.REFERENCE, 20), (Side.CANDIDATE, 50)).cells) is short


@pytest.mark.parametrize(
    "failed", [ended(Verdict.OUT_OF_MEMORY, Side.CANDIDATE), ended(Verdict.RUNTIME_ERROR, Side.REFERENCE)]
)
def test_what_is_no_want_of_memory_of_the_references_ends_no_candidate(
    monkeypatch: pytest.MonkeyPatch, failed: CellFailed
) -> None:
    device = Device(monkeypatch, 10, (Side.CANDIDATE, 60))
    assert blamed(failed, device.cells) is failed
    assert device.living == 1
    short = ended(Verdict.OUT_OF_MEMORY, Side.REFERENCE)
    assert blamed(short, Device(monkeypatch, 10, (Side.REFERENCE, 60)).cells) is short


def test_tensors_that_a_host_has_no_memory_for_are_nobodys_mistake() -> None:
    found = host_full([], MemoryError("cannot map 3 TiB"))
    assert (found.verdict, found.failure.side) == (Verdict.UNSUPPORTED, Side.CANDIDATE)
    assert "too large to be judged on this host: cannot map 3 TiB" in found.failure.message
