"""Who is to blame for how a case ended, and in which words."""

from __future__ import annotations

from daemon.evaluation import Failure
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed, before_the_crash
from daemon.verdict import Phase, Side, Verdict


def verdict_on(outcome: CellFailed, used_s: float | None, own_weights: str) -> tuple[Verdict, Failure]:
    """The verdict on the case. A reference that fails makes the bundle unusable, and the candidate is not blamed for
    it. Except where the contract's time was over in the reference's turn, and the candidate had used most of it.

    `used_s`: the contract's time, where that was so. `own_weights`: what to say of a candidate whose weights are its
    own, when it is wrong.
    """
    verdict, failure = outcome.verdict, outcome.failure
    if verdict is Verdict.TIMEOUT and failure.side is Side.REFERENCE and used_s is not None:
        message = f"the candidate had used most of the contract's {used_s:g} s: {failure.message}"
        failure = failure.model_copy(update={"side": Side.CANDIDATE, "message": message})
    if failure.side is Side.REFERENCE and verdict is not Verdict.UNSUPPORTED:
        return Verdict.REJECTED, _saying(failure, f"the reference is at fault ({verdict}): {failure.message}")
    if verdict is Verdict.WRONG_ANSWER and failure.side is Side.CANDIDATE and own_weights:
        failure = _saying(failure, f"{failure.message}; {own_weights}")
    if verdict is Verdict.RUNTIME_ERROR and failure.phase in (Phase.BUILD, Phase.LOAD):
        verdict = Verdict.COMPILE_ERROR
    return verdict, failure


def own_stderr(candidate: Cell, failure: Failure | None) -> str:
    """What the kernel printed itself, without what its end has written there: that is the traceback of `failure`."""
    written = candidate.stderr.text()
    has_crashed = failure is not None and failure.side is Side.CANDIDATE and failure.signal is not None
    return before_the_crash(written) if has_crashed else written


def _saying(failure: Failure, message: str) -> Failure:
    return failure.model_copy(update={"message": message})
