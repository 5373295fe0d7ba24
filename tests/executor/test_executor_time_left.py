"""A kernel that uses up its contract's time where no clock looks does not get around what its labels come from."""

from __future__ import annotations

from pathlib import Path

import pytest
from executor_bundles import Doc, Judged, JudgeOne, compare, forward, kernel, with_enough_time

from daemon.verdict import Comparison, Side, Verdict

pytestmark = pytest.mark.sandbox

BATCHING = Path(__file__).parent.parent / "corpus" / "hostile" / "batch-all-slots"
# In the untimed calls before a timed round, when some rounds have been timed.
SLEEP = """
        if len(order) > 4:
            ROUNDS[0] += 1
        elif ROUNDS[0] >= 8:
            time.sleep(max(0, BEGAN + 9 - 0.95 - time.monotonic()))
        if len(order) <= 1:
"""
HALF = """
class Model(nn.Module):
    def forward(self, a, b):
        return a @ b

def get_inputs():
    return [torch.randn(64, 64), torch.randn(64, 64)]
"""
HANGS_AT_THE_END = """
import sys, time
SEEN, STATE = [], {"stage": 0, "left": 0}

def calls_of_this_run():
    if STATE["left"]:
        STATE["left"] -= 1
        return None
    frame = sys._getframe()
    while frame is not None and not (frame.f_code.co_name == "run" and frame.f_code.co_filename.endswith("slots.py")):
        frame = frame.f_back
    if frame is None:
        return None
    STATE["left"] = frame.f_locals["calls"] - 1
    return frame.f_locals["calls"]

def stage():
    # 1: rounds of many calls, 2: single calls after them, 3: rounds of many again
    calls = SEEN[-1]
    if STATE["stage"] == 0 and calls > 8:
        STATE["stage"] = 1
    elif STATE["stage"] == 1 and calls == 1:
        STATE["stage"] = 2
    elif STATE["stage"] == 2 and calls > 8:
        STATE["stage"] = 3
    return STATE["stage"]
"""


def is_clean(judged: Judged, *telling: str) -> bool:
    """It passed, and no label says what it does."""
    if judged.verdict is not Verdict.PASSED:
        return False
    timing = judged.case.timing
    return not set(telling) & {*judged.case.labels, *(timing.labels if timing else ())}


def test_a_kernel_that_batches_and_is_out_of_time_then_is_labelled_or_no_pass(judge: JudgeOne) -> None:
    source = (BATCHING / "kernel.py").read_text("utf-8")
    source = source.replace("import gc\n", "import gc\nimport time\n", 1)
    source = source.replace("\n\ndef work", "\nBEGAN, ROUNDS = time.monotonic(), [0]\n\n\ndef work", 1)
    tricky = source.replace("        if len(order) <= 1:\n", SLEEP.lstrip("\n"), 1)
    assert tricky.count("BEGAN") == 2 and tricky.count("ROUNDS") == 3
    reference = (BATCHING / "reference.py").read_text("utf-8")
    labels = ("batched", "alone_unclear")  # the second on a busy machine; the figure is that of single calls with both

    def comes_through() -> bool:
        timing = {"max_s": 2, "target_rse": 0.0005}
        return is_clean(judge(compare(kernel(tricky), reference, timeout=9, timing=timing)), *labels)

    assert not all(comes_through() for _ in range(3)), "what comes through by more than chance does so every time"


@pytest.mark.parametrize("is_loading", [False, True], ids=["in a call", "when it is loaded"])
def test_a_candidate_that_used_the_time_is_the_one_that_was_too_slow(judge: JudgeOne, is_loading: bool) -> None:
    """Although it is the reference's turn when the time is over."""

    def using_up(timeout_s: float) -> Doc:
        body = f"""
            self.calls = getattr(self, "calls", 0) + 1
            if self.calls == 2:
                time.sleep(max(0, BEGAN + {timeout_s} - 0.2 - time.monotonic()))
            return a @ b
            """
        before = "import time\nBEGAN = time.monotonic()"
        if is_loading:
            body, before = "return a @ b", f"import time\ntime.sleep({timeout_s} - 1)"
        slow = HALF.replace("return a @ b", "import time; time.sleep(0.4)\n        return a @ b")
        return compare(forward(body, before=before), slow, timeout=timeout_s)

    judged = with_enough_time(judge, lambda judged: judged.verdict is Verdict.TIMEOUT, using_up)
    assert judged.ended(Verdict.TIMEOUT).failure.side is Side.CANDIDATE


def test_a_kernel_that_hangs_in_the_numerics_has_no_pass_without_them(judge: JudgeOne) -> None:
    body = """
        calls = calls_of_this_run()
        if calls is not None:
            SEEN.append(calls)
            if stage() == 3 and calls == 1:
                time.sleep(1000)
        return (a.bfloat16() @ b.bfloat16()).float()
        """
    source = forward(body, before=HANGS_AT_THE_END)
    judged = judge(compare(source, HALF, timeout=8, atol=2.0, rtol=0.1))
    assert not is_clean(judged, "less_exact"), judged.evaluation
    assert judged.case.comparison is not Comparison.FASTER or judged.verdict is not Verdict.PASSED


def test_calls_that_were_asked_for_and_not_timed_are_told(judge: JudgeOne) -> None:
    told = [
        [
            note
            for note in judge(compare(forward("return a + b"), num_trials=calls)).passed().case.notes
            if "num" in note
        ]
        for calls in (1, 10_000)
    ]
    assert told[0] == []
    assert "num_trials asks for 10000, but the time was over" in told[1][0]
