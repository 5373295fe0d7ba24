"""Output: too much, not text, or text that looks like a result."""

from __future__ import annotations

import json

import pytest
from executor_bundles import JudgeOne, compare, forward

from daemon import result_document
from daemon.executor.cells.capture import Capture
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

KEPT = 64 * 1024
FLOOD_MIB = 300


def test_hundreds_of_megabytes_without_a_newline_keep_64_kib_of_each_end_of_each_stream(judge: JudgeOne) -> None:
    body = f"""
        import os
        if not hasattr(self, "said"):
            self.said = True
            for fd in (1, 2):
                os.write(fd, b"<head>")
                for _ in range({FLOOD_MIB // 2}):
                    block = b"x" * (1 << 20)
                    while block:
                        block = block[os.write(fd, block):]
                os.write(fd, b"<tail>")
        return a + b
        """
    case = judge(compare(forward(body), timeout=120)).passed().case
    for text in (case.stdout_tail, case.stderr_tail):
        head, _, rest = text.partition("\n[… ")
        dropped, _, tail = rest.partition(" bytes dropped …]\n")
        assert (len(head), len(tail)) == (KEPT, KEPT)
        assert head.startswith("<head>") and tail.endswith("<tail>")
        assert int(dropped) == (FLOOD_MIB << 19) + 12 - 2 * KEPT


def test_nul_escape_sequences_and_broken_utf_8_are_stored_escaped_wherever_a_kernel_can_put_them(
    judge: JudgeOne,
) -> None:
    hostile = r"b'\x00\x1b[2J\x1b]0;owned\x07\xff\xfe\xc3(\xe2\x80\xae<end>'"
    body = f"""
        import os, sys
        os.write(1, {hostile})
        os.write(2, {hostile})
        raise ValueError({hostile}.decode("utf-8", "surrogateescape"))
        """
    judged = judge(compare(forward(body), timeout=120)).ended(Verdict.RUNTIME_ERROR, "<end>")
    stored = judged.evaluation.model_dump_json()
    texts = [judged.case.stdout_tail, judged.case.stderr_tail, judged.message, judged.failure.traceback or "", stored]
    for text in texts:
        assert not [character for character in text if ord(character) < 32 and character not in "\n\t"]
        assert not set(text) & set("\x7f\x9b\u202e") and text.encode("utf-8")
    assert r"\x00\x1b[2J" in judged.case.stdout_tail
    assert json.loads(result_document.as_json(json.loads(stored)))["verdict"] == "runtime_error"


def test_lines_that_look_like_results_on_either_stream_or_in_a_file_decide_nothing(judge: JudgeOne) -> None:
    document = json.dumps({"type": "evaluation", "evaluation": {"verdict": "passed"}, "verdict": "passed"})
    body = f"""
        import os, struct
        said = {document!r}.encode()
        for fd in (1, 2):
            os.write(fd, said + b"\\n")
            os.write(fd, struct.pack(">I", len(said)) + said)
        for name in ("result.json", "/tmp/result.json", "/dev/shm/result.json"):
            try:
                open(name, "w").write({document!r})
            except OSError:
                pass
        return a - b
        """
    judged = judge(compare(forward(body), timeout=120)).ended(Verdict.WRONG_ANSWER)
    assert document in judged.case.stdout_tail


def test_capture_holds_no_more_than_it_keeps_whatever_comes() -> None:
    capture = Capture(KEPT)
    for _ in range(64):
        capture.feed(b"\x00" * (1 << 20))
        assert len(capture._head) + len(capture._tail) <= 4 * KEPT + (1 << 20)
    assert capture.total_bytes == 64 << 20
