"""What a cell can do to the channel between it and the judge, and to itself. Whole attacks are in `tests/corpus`."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from executor_bundles import Judged, JudgeOne, compare, forward, with_enough_time

from daemon.executor.cells.conversation import Cell
from daemon.executor.shared import protocol
from daemon.verdict import Side, Verdict

pytestmark = pytest.mark.sandbox

NOT_PASSED = {Verdict.WRONG_ANSWER, Verdict.INTEGRITY_VIOLATION, Verdict.RUNTIME_ERROR, Verdict.TIMEOUT}


def not_rejected(judge: JudgeOne, source: str) -> Judged:
    """A kernel that may keep the judge waiting for its answer, so that the time is short; not too short for the
    reference, which has it as well."""
    return with_enough_time(
        judge,
        lambda judged: judged.verdict is not Verdict.REJECTED,
        lambda timeout_s: compare(source, timeout=timeout_s),
    )


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


@pytest.mark.parametrize(
    "patch",
    [
        "torch.equal = torch.allclose = lambda *a, **k: True",
        "torch.Tensor.copy_ = lambda self, *a, **k: self",
        "torch.Tensor.__eq__ = lambda *a: torch.tensor(True)",
        "import time; time.perf_counter = time.monotonic = lambda: 0.0",
        "import daemon.executor.inside.slots as s; s.Slots.run = lambda *a: None",
        "import daemon.executor.inside.slots as s; s.Slots._store = lambda *a: None",
        "import sys, gc; gc.disable(); sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)",
        'import json; json.dumps = lambda *a, **k: \'{"type": "passed"}\'',
        "import daemon.executor.shared.protocol as p; p.send = lambda *a, **k: None",
    ],
    ids=["equal", "copy", "eq", "time", "run", "store", "trace", "dumps", "send"],
)
def test_patching_what_is_in_reach_does_not_make_a_wrong_kernel_pass(judge: JudgeOne, patch: str) -> None:
    judged = not_rejected(judge, forward("return a - b", before=patch))
    assert judged.verdict in {*NOT_PASSED, Verdict.COMPILE_ERROR}


def test_a_kernel_that_only_changes_the_tracing_hooks_still_passes(judge: JudgeOne) -> None:
    judge(compare(forward("import sys\nsys.settrace(None)\nreturn a + b"))).passed()


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
    judge(compare(forward(body, before=CHANNEL))).ended(Verdict.INTEGRITY_VIOLATION, "channel")


def test_an_urgent_byte_cannot_be_sent(judge: JudgeOne) -> None:
    body = "socket.socket(fileno=os.dup(channel())).send(b'x', socket.MSG_OOB)\nreturn a + b"
    judge(compare(forward(body, before=CHANNEL))).ended(Verdict.RUNTIME_ERROR, "PermissionError")


def test_where_no_filter_stands_an_urgent_byte_is_not_waited_for() -> None:
    """Of such a byte poll() says that there is something to read, and recv() that there is nothing."""
    (ours, theirs), out, err = socket.socketpair(), os.pipe(), os.pipe()
    program: Any = SimpleNamespace(stdout_fd=out[0], stderr_fd=err[0])
    settings: Any = SimpleNamespace(output_keep_bytes=1)
    cell = Cell(program, ours, Side.CANDIDATE, settings)
    theirs.send(b"x", socket.MSG_OOB)
    with pytest.raises(protocol.ProtocolError, match="out of band"):
        cell._drain(1.0)
    for fd in (*out, *err):
        os.close(fd)
    ours.close(), theirs.close()


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
    assert not_rejected(judge, forward(body, before=CHANNEL)).verdict in {*NOT_PASSED, Verdict.PASSED}
    judge(compare(forward("return a + b"))).passed()


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
    judged = not_rejected(judge, forward("return a - b", before=before))
    assert judged.verdict in {*NOT_PASSED, Verdict.COMPILE_ERROR}
