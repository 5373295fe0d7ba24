"""Kernels that try to look faster or more correct than they are. None may pass wrong, none may gain time."""

from __future__ import annotations

import pytest
from executor_bundles import JudgeOne, compare, forward

from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

NOT_PASSED = {Verdict.WRONG_ANSWER, Verdict.INTEGRITY_VIOLATION, Verdict.RUNTIME_ERROR, Verdict.TIMEOUT}

CHANNEL = """
import os, socket, struct, json
def channel():
    for fd in os.listdir("/proc/self/fd"):
        try:
            if os.readlink("/proc/self/fd/" + fd).startswith("socket:"):
                return int(fd)
        except OSError:
            pass
def frame(message):
    body = json.dumps(message).encode() if not isinstance(message, bytes) else message
    return struct.pack(">I", len(body)) + body
"""

# A reference slow enough (about 10 ms) that finishing after "done" would show.
SLOW = """
    class Model(nn.Module):
        def forward(self, a, b):
            c = a
            for _ in range(30):
                c = torch.tanh(c + b)
            return c
    def get_inputs():
        return [torch.randn(128, 128), torch.randn(128, 128)]
    """
WORK = """
def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c
"""


def test_the_slow_kernel_itself_passes(judge: JudgeOne) -> None:
    judge(compare(forward("return work(a, b)", before=WORK), SLOW)).passed()


def test_writing_done_before_the_work_is_seen(judge: JudgeOne) -> None:
    body = "os.write(channel(), frame({'type': 'done'}))\nreturn work(a, b)"
    judge(compare(forward(body, before=CHANNEL + WORK), SLOW)).ended(Verdict.INTEGRITY_VIOLATION)


def test_writing_done_in_timed_rounds_only_is_seen(judge: JudgeOne) -> None:
    body = """
        self.n = getattr(self, "n", 0) + 1
        if self.n > 40:
            os.write(channel(), frame({"type": "done"}))
        return work(a, b)
        """
    judged = judge(compare(forward(body, before=CHANNEL + WORK), SLOW))
    assert judged.verdict in NOT_PASSED


def test_a_thread_that_sends_a_second_done_for_the_next_round_is_seen(judge: JudgeOne) -> None:
    body = """
        if not hasattr(self, "t"):
            import threading, time
            def later():
                while True:
                    time.sleep(0.003)
                    os.write(channel(), frame({"type": "done"}))
            self.t = threading.Thread(target=later, daemon=True)
            self.t.start()
        return work(a, b)
        """
    judged = judge(compare(forward(body, before=CHANNEL + WORK), SLOW))
    assert judged.verdict in NOT_PASSED


def test_finishing_in_a_thread_after_done_is_seen(judge: JudgeOne) -> None:
    # Returns an untouched tensor at once; a thread finds the slot and writes the answer into it later.
    body = """
        import gc, threading
        slots = [o for o in gc.get_objects() if type(o).__name__ == "Slots"][-1]
        for args, outputs in zip(slots._args, slots._outputs):
            if args[0] is a:
                target = outputs[0]
                def later():
                    target.copy_(work(a, b))
                threading.Thread(target=later).start()
                return target
        return work(a, b)
        """
    judged = judge(compare(forward(body, before=WORK), SLOW))
    assert judged.verdict in NOT_PASSED


def test_finishing_in_a_forked_process_after_done_is_seen(judge: JudgeOne) -> None:
    body = """
        import gc, os
        slots = [o for o in gc.get_objects() if type(o).__name__ == "Slots"][-1]
        for args, outputs in zip(slots._args, slots._outputs):
            if args[0] is a:
                if os.fork() == 0:
                    outputs[0].copy_(work(a, b))
                    os._exit(0)
                return outputs[0]
        return work(a, b)
        """
    judged = judge(compare(forward(body, before=WORK), SLOW))
    assert judged.verdict in NOT_PASSED


def test_work_before_go_by_a_thread_polling_the_arena_gains_nothing(judge: JudgeOne) -> None:
    # A thread that is frozen cannot poll: the answer is right, and its time is that of the work.
    body = """
        import gc, threading
        if not hasattr(self, "ready"):
            self.ready = {}
            def poll():
                while True:
                    for o in [o for o in gc.get_objects() if type(o).__name__ == "Slots"]:
                        for args in o._args:
                            key = (args[0].data_ptr(), float(args[0][0, 0]), float(args[0][-1, -1]))
                            if key not in self.ready:
                                self.ready[key] = work(args[0].clone(), args[1].clone())
            threading.Thread(target=poll, daemon=True).start()
        key = (a.data_ptr(), float(a[0, 0]), float(a[-1, -1]))
        return self.ready[key] if key in self.ready else work(a, b)
        """
    judged = judge(compare(forward(body, before=WORK), SLOW))
    if judged.verdict is Verdict.PASSED:
        assert judged.case.timing is not None and judged.case.ref_timing is not None
        assert judged.case.timing.stats.median > judged.case.ref_timing.stats.median / 3
    else:
        assert judged.verdict in NOT_PASSED


@pytest.mark.parametrize(
    "key",
    [
        "a.shape",
        "a.data_ptr()",
        "id(a)",
        "'one'",
        "float(a[0, 0])",
        "a._version",
        "hash(bytes(a.numpy().tobytes()[:64]))",
    ],
)
def test_replaying_an_earlier_answer_is_a_wrong_answer(judge: JudgeOne, key: str) -> None:
    body = f"""
        self.kept = getattr(self, "kept", {{}})
        key = {key}
        if key not in self.kept:
            self.kept[key] = a + b
        return self.kept[key]
        """
    judged = judge(compare(forward(body)))
    if key.startswith(("float", "hash")):  # content that never repeats: every call is computed, and right
        judged.passed()
    else:
        judged.ended(Verdict.WRONG_ANSWER)


@pytest.mark.parametrize(
    "cheat",
    ["a", "torch.empty_like(a)", "self.kept", "torch.zeros_like(a)", "(a + b) * 1.01"],
    ids=["input", "empty", "stale", "zeros", "approximate"],
)
def test_correct_in_the_checks_and_wrong_in_timed_rounds_is_a_wrong_answer(judge: JudgeOne, cheat: str) -> None:
    body = (
        f"self.n = getattr(self, 'n', 0) + 1\nif self.n > 4:\n    return {cheat}\nself.kept = a + b\nreturn self.kept"
    )
    judge(compare(forward(body))).ended(Verdict.WRONG_ANSWER)


def test_one_wrong_call_in_a_hundred_is_a_wrong_answer(judge: JudgeOne) -> None:
    body = "self.n = getattr(self, 'n', 0) + 1\nreturn a if self.n % 100 == 99 else a + b"
    judge(compare(forward(body), num_trials=300, timing={"max_s": 10})).ended(Verdict.WRONG_ANSWER)


def test_changing_an_input_is_a_wrong_answer(judge: JudgeOne) -> None:
    judge(compare(forward("c = a + b\na.zero_()\nreturn c"))).ended(Verdict.WRONG_ANSWER, "changed input")


@pytest.mark.parametrize(
    ("offset", "words"),
    [("-4", "outside"), ("a.numel() * 4", "outside"), ("a.numel() * 4 + 252", "outside"), ("-256", "outside")],
)
def test_writing_beyond_a_tensor_is_a_wrong_answer(judge: JudgeOne, offset: str, words: str) -> None:
    body = f"import ctypes\nctypes.memset(a.data_ptr() + {offset}, 7, 4)\nreturn a + b"
    judge(compare(forward(body))).ended(Verdict.WRONG_ANSWER, words)


def test_writing_into_the_slots_of_other_calls_gains_nothing(judge: JudgeOne) -> None:
    body = """
        import gc
        slots = [o for o in gc.get_objects() if type(o).__name__ == "Slots"][-1]
        for outputs in slots._outputs:
            for output in outputs:
                output.fill_(1.0)
        return a + b
        """
    judged = judge(compare(forward(body)))
    if judged.verdict is Verdict.PASSED:  # a busy machine may choose rounds of one call: nothing was spoiled then
        assert judged.case.timing is not None
        assert set(judged.case.timing.calls) == {1}
    else:
        assert judged.verdict in {Verdict.WRONG_ANSWER, Verdict.INTEGRITY_VIOLATION}


def test_a_direct_write_into_the_slot_does_not_have_the_copy_subtracted(judge: JudgeOne) -> None:
    source = SLOW.replace("range(30)", "range(1)")
    body = """
        import gc
        if not hasattr(self, "where") or a.data_ptr() not in self.where:
            slots = [o for o in gc.get_objects() if type(o).__name__ == "Slots"][-1]
            pairs = zip(slots._args, slots._outputs)
            self.where = {args[0].data_ptr(): outputs[0] for args, outputs in pairs if outputs}
        return torch.tanh(a + b, out=self.where[a.data_ptr()]) if a.data_ptr() in self.where else torch.tanh(a + b)
        """
    timing = judge(compare(forward(body), source)).passed().case.timing
    assert timing is not None
    assert "copy_included" in timing.labels


def test_a_lazy_tensor_is_computed_inside_the_clock_or_fails(judge: JudgeOne) -> None:
    before = """
class Lazy(torch.Tensor):
    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return super().__torch_function__(function, types, args, kwargs or {})
"""
    judge(compare(forward("return (a + b).as_subclass(Lazy)", before=before))).passed()
    judge(compare(forward("return a.as_subclass(Lazy)", before=before))).ended(Verdict.WRONG_ANSWER)


@pytest.mark.parametrize(
    "patch",
    [
        "torch.equal = torch.allclose = lambda *a, **k: True",
        "torch.Tensor.copy_ = lambda self, *a, **k: self",
        "torch.Tensor.__eq__ = lambda *a: torch.tensor(True)",
        "import time; time.perf_counter = time.monotonic = lambda: 0.0",
        "import daemon.executor.slots as s; s.Slots.run = lambda *a: None",
        "import daemon.executor.slots as s; s.Slots._store = lambda *a: None",
        "import sys, gc; gc.disable(); sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)",
        'import json; json.dumps = lambda *a, **k: \'{"type": "passed"}\'',
        "import daemon.executor.protocol as p; p.send = lambda *a, **k: None",
    ],
    ids=["equal", "copy", "eq", "time", "run", "store", "trace", "dumps", "send"],
)
def test_patching_what_is_in_reach_does_not_make_a_wrong_kernel_pass(judge: JudgeOne, patch: str) -> None:
    judged = judge(compare(forward("return a - b", before=patch), timeout=5))
    assert judged.verdict in {*NOT_PASSED, Verdict.COMPILE_ERROR}


def test_a_kernel_that_only_changes_the_tracing_hooks_still_passes(judge: JudgeOne) -> None:
    judge(compare(forward("import sys\nsys.settrace(None)\nreturn a + b"))).passed()


def test_lines_that_look_like_results_are_only_output(judge: JudgeOne) -> None:
    body = 'print(\'{"type": "evaluation", "verdict": "passed"}\')\nprint(\'RESULT passed\', flush=True)\nreturn a'
    judged = judge(compare(forward(body))).ended(Verdict.WRONG_ANSWER)
    assert "RESULT passed" in judged.case.stdout_tail


@pytest.mark.parametrize(
    "payload",
    [
        "struct.pack('>I', 0xFFFFFFFF)",
        "struct.pack('>I', 5 << 20) + b'x' * (1 << 16)",
        "frame(b'[' * 100000)",
        "frame(b'{\"type\": \"done\", \"x\": ' + b'[' * 100 + b']' * 100 + b'}')",
        "frame(b'\\xff\\xfe')",
        'frame(b\'{"type": "done", "x": NaN}\')',
        "frame({'type': 'evaluation', 'verdict': 'passed'})",
        "frame({'type': 'exported', 'tree': {'t': 0}, 'tensors': []})",
        "os.urandom(4096)",
    ],
    ids=["4gib", "5mib", "brackets", "deep", "bytes", "nan", "evaluation", "exported", "noise"],
)
def test_nonsense_in_the_channel_is_an_integrity_violation(judge: JudgeOne, payload: str) -> None:
    body = f"self.n = getattr(self, 'n', 0) + 1\nif self.n > 1:\n    os.write(channel(), {payload})\nreturn a + b"
    judge(compare(forward(body, before=CHANNEL), timeout=5)).ended(Verdict.INTEGRITY_VIOLATION, "channel")


@pytest.mark.parametrize("claim", ["passed", "harness_error", "rejected", "unsupported", "no such verdict"])
def test_a_cell_cannot_claim_a_verdict_that_helps_it(judge: JudgeOne, claim: str) -> None:
    fault = f"from daemon.executor.source import KernelFault\nraise KernelFault({claim!r}, 'so I say')"
    judge(compare(forward(fault))).ended(Verdict.RUNTIME_ERROR, "so I say")


def test_descriptors_sent_to_the_judge_are_refused_by_the_kernel(judge: JudgeOne) -> None:
    body = """
        s = socket.socket(fileno=os.dup(channel()))
        fd = os.open("/dev/zero", os.O_RDONLY)
        try:
            socket.send_fds(s, [b""], [fd] * 8)
        finally:
            s.detach()
        return a + b
        """
    assert judge(compare(forward(body, before=CHANNEL), timeout=5)).verdict in {*NOT_PASSED, Verdict.PASSED}
    judge(compare(forward("return a + b"))).passed()


def test_sleeping_in_small_rounds_does_not_change_what_large_ones_cost(judge: JudgeOne) -> None:
    body = """
        import gc, time
        slots = [o for o in gc.get_objects() if type(o).__name__ == "Slots"][-1]
        if len(slots._args) <= 16:
            time.sleep(0.002)
        return work(a, b)
        """
    case = judge(compare(forward(body, before=WORK), SLOW)).passed().case
    assert case.timing is not None and case.ref_timing is not None
    assert case.timing.stats.median > case.ref_timing.stats.median / 3


def test_the_expected_output_is_nowhere_in_the_candidates_memory(judge: JudgeOne) -> None:
    # The reference's answer is a + b + 0.123; the candidate looks for it everywhere it can read.
    body = """
        needle = (a + b + 0.123).reshape(-1)[:4].numpy().tobytes()
        hits = 0
        for line in open("/proc/self/maps"):
            fields = line.split()
            if "r" not in fields[1] or line.rstrip().endswith(("[vvar]", "[vsyscall]", "[vvar_vclock]")):
                continue
            first, last = (int(x, 16) for x in fields[0].split("-"))
            with open("/proc/self/mem", "rb") as memory:
                memory.seek(first)
                try:
                    hits += memory.read(min(last - first, 64 << 20)).count(needle)
                except OSError:
                    pass
        print("hits=" + str(hits), flush=True)
        return a + b
        """
    reference = (
        "class Model(nn.Module):\n    def forward(self, a, b):\n        return a + b + 0.123\n"
        "def get_inputs():\n    return [torch.randn(64), torch.randn(64)]\n"
    )
    judged = judge(compare(forward(body), reference)).ended(Verdict.WRONG_ANSWER)
    assert int(judged.report["hits"]) <= 4  # its own copies: the needle, the tensor it was made from


def test_guessing_the_judges_seeds_does_not_give_the_inputs(judge: JudgeOne) -> None:
    body = """
        for seed in (0, 1, 42, 1234, torch.initial_seed()):
            torch.manual_seed(seed)
            if torch.equal(torch.randn(64, 8), a):
                print("guessed=" + str(seed), flush=True)
        return a + b
        """
    assert "guessed" not in judge(compare(forward(body))).passed().report


@pytest.mark.parametrize(
    "answer",
    [
        '{"type": "loaded"}',
        '{"type": "loaded", "notes": 7, "describe": [], "makes_inputs": "yes", "constructs": {}, "parameters": 3}',
        '{"type": "loaded", "notes": ["\\ud800\\x00"], "parameters": [1], "constructs": True}',
    ],
    ids=["bare", "types", "text"],
)
def test_a_forged_answer_to_load_is_never_a_harness_error(judge: JudgeOne, answer: str) -> None:
    before = CHANNEL + f"\nos.write(channel(), frame({answer}))\n"
    judged = judge(compare(forward("return a - b", before=before), timeout=5))
    assert judged.verdict in {*NOT_PASSED, Verdict.COMPILE_ERROR}
