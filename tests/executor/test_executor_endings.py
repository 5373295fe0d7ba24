"""Every way a kernel can end, its verdict, its phase, and a message that helps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from executor_bundles import ADD, Judged, JudgeOne, compare, evaluate, forward, kernel, with_enough_time
from executor_settings import cell_uid, small_settings

from daemon.executor.local import LocalEngine
from daemon.executor.sandbox import cgroup
from daemon.verdict import Phase, Side, Verdict

pytestmark = pytest.mark.sandbox


def ends(body: str, *, before: str = "") -> str:
    return forward(body + "\nreturn a + b", before=before)


def test_a_candidate_in_the_reference_s_place_is_taken_for_swapped(judge: JudgeOne) -> None:
    swapped = forward("return a + b")
    judge(compare(swapped, swapped)).ended(
        Verdict.REJECTED, "no class Model in the source", "are the two kernels swapped?"
    )


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class ModelNew(nn.Module:\n    pass\n", ["SyntaxError", "while importing"]),
        ("import nonexistent_module\n", ["ModuleNotFoundError", "nonexistent_module"]),
        ("class Other(nn.Module):\n    pass\n", ["no class ModelNew or Model", "Other", "class_name"]),
        ("class ModelNew(nn.Module):\n    pass\n", ["no method 'forward'"]),
        (forward("return a + b", before="raise ValueError('at import')"), ["ValueError", "at import"]),
        ("import sys\nsys.exit(0)\n", ["SystemExit"]),
        (
            "class ModelNew(nn.Module):\n    def __init__(self):\n        self.x = 1 / 0\n    forward = None\n",
            ["forward"],
        ),
    ],
    ids=["syntax", "import", "missing", "forwardless", "raises", "exits", "noncallable"],
)
def test_what_cannot_be_imported_or_constructed_is_a_compile_error(
    judge: JudgeOne, source: str, words: list[str]
) -> None:
    judged = judge(compare(source))
    if "forward = None" in source:
        assert judged.verdict in (Verdict.COMPILE_ERROR, Verdict.RUNTIME_ERROR)
        return
    judged.ended(Verdict.COMPILE_ERROR, *words)
    assert judged.failure.phase is Phase.LOAD
    assert judged.failure.side is Side.CANDIDATE


def test_an_exception_shows_the_users_own_lines_and_none_of_ours(judge: JudgeOne) -> None:
    body = "return helper(a)"
    source = forward(body, before="def helper(x):\n    return x.reshape(7, 7)  # the line at fault\n")
    judged = judge(compare(source)).ended(Verdict.RUNTIME_ERROR, "RuntimeError", "shape")
    trace = judged.failure.traceback or ""
    assert "x.reshape(7, 7)" in trace
    assert "in helper" in trace
    assert "workload" not in trace and "slots.py" not in trace and "/tmp" not in trace


def test_a_wrong_number_of_arguments_is_a_runtime_error(judge: JudgeOne) -> None:
    judge(compare(forward("return a", arguments="a"))).ended(Verdict.RUNTIME_ERROR, "TypeError", "positional")


def test_nan_is_a_wrong_answer_unless_the_reference_has_it_too(judge: JudgeOne) -> None:
    judge(compare(forward("c = a + b\nc[0, 0] = float('nan')\nreturn c"))).ended(Verdict.WRONG_ANSWER, "nan")
    both = "class Model(nn.Module):\n    def forward(self, a, b):\n        return (a + b).sqrt()\n"
    inputs = "def get_inputs():\n    return [torch.randn(64, 8), torch.randn(64, 8)]\n"
    judge(compare(both.replace("Model(", "ModelNew("), both + inputs)).passed()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("import ctypes; ctypes.string_at(0)", ["SIGSEGV"]),
        ("import os; os.abort()", ["SIGABRT"]),
        ("import os; os._exit(0)", ["exit code 0"]),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", ["SIGKILL"]),
    ],
    ids=["segfault", "abort", "exit0", "sigkill"],
)
def test_a_process_that_dies_is_a_runtime_error_that_says_how(judge: JudgeOne, body: str, words: list[str]) -> None:
    judged = judge(compare(ends(body))).ended(Verdict.RUNTIME_ERROR, *words)
    assert judged.case.correctness is False
    assert judged.failure.phase is Phase.CHECK


def test_a_process_that_dies_is_quoted_with_the_last_it_said_and_where_it_was(judge: JudgeOne) -> None:
    words = "terminate called after throwing an instance of 'std::runtime_error'\\n  what():  my own words\\n"
    judged = judge(compare(ends(f'import os; os.write(2, b"{words}"); os.abort()')))
    judged.ended(
        Verdict.RUNTIME_ERROR, "killed by SIGABRT before it had answered; the last it said: what():  my own words"
    )
    trace, printed = judged.failure.traceback or "", judged.case.stderr_tail
    assert ("candidate.py" in trace, "Extension modules" in trace, "zygote" in trace) == (True, False, False)
    assert (printed.startswith("terminate called"), "Fatal Python error" in printed) == (True, False)


def test_the_evaluation_after_a_crash_is_not_disturbed(judge: JudgeOne) -> None:
    judge(compare(ends("import os; os.abort()")))
    judge(compare(forward("return a + b"))).passed()


def test_more_memory_than_allowed_is_out_of_memory_and_names_the_limit(judge: JudgeOne) -> None:
    judge(compare(ends("x = [bytearray(1 << 24) for _ in range(250)]"))).ended(Verdict.OUT_OF_MEMORY, "2560 MiB")
    judge(compare(ends("x = torch.empty(1 << 40, dtype=torch.float32)"))).ended(Verdict.OUT_OF_MEMORY)


HELPER = """import os
if not hasattr(self, 'asked'):
    self.asked = True
    if (helper := os.fork()) == 0:
        hoard = [bytearray(1 << 24) for _ in range(250)]
        os._exit(0)
    os.waitpid(helper, 0)
"""


@pytest.mark.parametrize("side", Side)
def test_a_wrong_answer_after_a_helper_was_killed_for_want_of_memory_is_laid_to_that(
    judge: JudgeOne, side: Side
) -> None:
    if (groups := cgroup.find()) is None or "memory" in groups.missing:
        pytest.skip("no memory is limited for all processes of a cell together here")
    greedy, sound = ends(f"{HELPER}return a - b"), forward("return a + b")
    if side is Side.CANDIDATE:
        judge(compare(greedy)).ended(Verdict.OUT_OF_MEMORY, "one of its processes was killed for want of memory")
    else:
        inputs = "\ndef get_inputs():\n    return [torch.randn(64, 8), torch.randn(64, 8)]\n"
        told = judge(compare(sound, reference=greedy.replace("class ModelNew", "class Model") + inputs))
        told.ended(Verdict.REJECTED, "the reference is at fault (out_of_memory)")


def test_a_kernel_that_is_right_without_its_helper_passes_with_a_word_about_it(judge: JudgeOne) -> None:
    if (groups := cgroup.find()) is None or "memory" in groups.missing:
        pytest.skip("no memory is limited for all processes of a cell together here")
    case = judge(compare(ends(HELPER))).passed().case
    assert "some process of the candidate was killed for want of memory meanwhile" in case.notes


def test_filling_tmp_is_an_error_that_names_the_limit(judge: JudgeOne) -> None:
    many = "for i in range(5000):\n    open(f'/tmp/{i}', 'w').close()"
    judge(compare(ends(many))).ended(Verdict.RUNTIME_ERROR, "No space left", "files")
    large = "with open('/tmp/x', 'wb') as f:\n    for _ in range(64):\n        f.write(bytes(1 << 20))"
    judge(compare(ends(large))).ended(Verdict.RUNTIME_ERROR, "bytes for one file")


def test_too_many_open_files_is_an_error_that_names_the_limit(judge: JudgeOne) -> None:
    body = "import os\nx = [os.open('/dev/null', os.O_RDONLY) for _ in range(2000)]"
    judge(compare(ends(body))).ended(Verdict.RUNTIME_ERROR, "256 open files")


@pytest.mark.parametrize(
    "body",
    [
        "import os, time\nwhile True:\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)",
        "import threading, time\nfor _ in range(5000):\n"
        "    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
    ],
    ids=["fork", "thread"],
)
def test_a_bomb_runs_into_the_limit_of_processes_which_is_named(judge: JudgeOne, body: str) -> None:
    judge(compare(ends(body))).ended(Verdict.RUNTIME_ERROR, "64 processes")
    judge(compare(forward("return a + b"))).passed()


def test_a_line_of_100_megabytes_is_kept_at_both_ends_and_counted(judge: JudgeOne) -> None:
    body = (
        "import os\nif not hasattr(self, 'said'):\n    self.said = True\n    os.write(1, b'head')\n"
        "    for _ in range(100):\n        os.write(1, b'x' * (1 << 20))\n    os.write(1, b'\\x00\\x1b[31m\\xff tail')"
    )
    case = judge(compare(ends(body))).passed().case
    assert len(case.stdout_tail) < 300_000
    assert case.stdout_tail.startswith("headxxx")
    assert "bytes dropped" in case.stdout_tail
    assert "\x1b" not in case.stdout_tail and "tail" in case.stdout_tail


def ended_in(phase: Phase) -> Callable[[Judged], bool]:
    return lambda judged: judged.case.failure is not None and judged.failure.phase is phase


LOOP = "while True:\n    pass"
FIRST_TIMED = "import __main__\nself.n = getattr(self, 'n', 0) + 1\nif self.n > 4:\n    while True:\n        pass"


@pytest.mark.parametrize(
    ("source", "phase"),
    [
        (forward("return a + b", before=LOOP), Phase.LOAD),
        (ends(LOOP), Phase.CHECK),
        (ends("import time\ntime.sleep(1000)"), Phase.CHECK),
        (ends("import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)"), Phase.CHECK),
        (ends("import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n" + LOOP), Phase.CHECK),
        (ends(FIRST_TIMED), Phase.MEASURE),
    ],
    ids=["load", "call", "sleep", "sigstop", "signals", "timed"],
)
def test_what_does_not_end_is_a_timeout_in_its_phase_and_everything_is_killed(
    judge: JudgeOne, source: str, phase: Phase
) -> None:
    judged = with_enough_time(judge, ended_in(phase), lambda timeout_s: compare(source, timeout=timeout_s))
    judged.ended(Verdict.TIMEOUT, "killed")
    assert judged.failure.phase is phase


def test_an_endless_get_inputs_is_a_timeout(judge: JudgeOne) -> None:
    endless = "class Model(nn.Module):\n    def forward(self, a): return a\ndef get_inputs():\n    while True: pass\n"
    judged = with_enough_time(judge, ended_in(Phase.INPUTS), lambda timeout_s: evaluate(endless, timeout=timeout_s))
    judged.ended(Verdict.TIMEOUT)
    assert judged.failure.phase is Phase.INPUTS


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("class Model(nn.Module:\n", ["compile_error", "SyntaxError"]),
        (ADD.replace("return a + b", "raise KeyError('no')"), ["runtime_error", "KeyError"]),
        (ADD.replace("return a + b", "import time; time.sleep(1000)"), ["timeout"]),
        (ADD.replace("return a + b", "import os; os.abort()"), ["SIGABRT"]),
    ],
    ids=["syntax", "exception", "timeout", "crash"],
)
def test_a_reference_at_fault_rejects_the_bundle_and_the_candidate_is_not_blamed(
    judge: JudgeOne, reference: str, words: list[str]
) -> None:
    judged = with_enough_time(
        judge,
        lambda judged: judged.verdict is Verdict.REJECTED and all(word in judged.message for word in words),
        lambda timeout_s: compare(forward("return a + b"), reference, timeout=timeout_s),
    ).ended(Verdict.REJECTED, "reference is at fault", *words)
    assert judged.failure.side is Side.REFERENCE
    assert judged.case.correctness is None


@pytest.fixture
def hurried(tmp_path: Path, judge_in: Callable[[LocalEngine, Path], JudgeOne]) -> Iterator[JudgeOne]:
    settings = small_settings(
        tmp_path / "home", deadlines={"build_s": 3, "start_s": 300}, sandbox={"uid_base": cell_uid(1)}
    )
    engine = LocalEngine(settings)
    yield judge_in(engine, tmp_path)
    engine.close()


def test_a_build_has_a_time_limit_of_its_own(hurried: JudgeOne) -> None:
    source = kernel("import time\ntime.sleep(1000)\n", "torch_cuda")
    judged = hurried(compare(source)).ended(Verdict.TIMEOUT, "over, 3 s (the setting deadlines.build_s)")
    assert judged.failure.phase is Phase.BUILD


def test_text_that_no_encoding_holds_is_escaped_not_a_harness_error(judge: JudgeOne) -> None:
    judge(compare(ends("raise ValueError('\\ud800 \\x00 \\x1b[31m')"))).ended(Verdict.RUNTIME_ERROR, "\\ud800 \\x00")
