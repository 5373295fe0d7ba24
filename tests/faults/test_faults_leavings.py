"""What a cell may leave behind: hostile files, hostile artifacts, hostile JSON. Nothing of it blocks or is believed."""

from __future__ import annotations

import mmap
import os
import tracemalloc
from typing import Any

import pytest
from executor_bundles import JudgeOne, compare, forward

from daemon.executor.artifacts import build
from daemon.executor.shared import protocol
from daemon.verdict import Verdict

CAPACITY = build._CAPACITY


@pytest.mark.sandbox
def test_links_pipes_devices_and_huge_files_in_every_writable_place_neither_block_nor_count(judge: JudgeOne) -> None:
    body = """
        import json, os, stat
        if not hasattr(self, "left"):
            self.left = True
            for folder in ("/tmp", "/dev/shm"):
                for name in ("result.json", "contract.json", "evaluation.json", "artifact", "out", "stdout"):
                    os.symlink("/etc/shadow", f"{folder}/link-{name}")
                    os.mkfifo(f"{folder}/{name}")
                    os.link(f"{folder}/{name}", f"{folder}/hard-{name}")
                    try:
                        os.mknod(f"{folder}/device-{name}", stat.S_IFCHR | 0o666, os.makedev(1, 5))
                        print("device=made", flush=True)
                    except OSError as error:
                        print("device=refused", flush=True)
                with open(f"{folder}/huge.json", "w") as stream:
                    stream.write("[" * (8 << 20))
        return a + b
        """
    assert judge(compare(forward(body), timeout=120)).passed().report["device"] == "refused"


@pytest.mark.parametrize("claimed", [-1, 0, 1 << 62, CAPACITY + 1, None, "7", 7.5, [7], {"n": 7}])
def test_an_artifact_of_an_impossible_size_is_an_empty_one(claimed: object) -> None:
    with artifact(b"seven b") as fd:
        assert build._contents(fd, claimed) == b""


def test_an_artifact_of_a_possible_size_is_read_as_it_is() -> None:
    with artifact(b"seven b") as fd:
        assert build._contents(fd, 7) == b"seven b"


def test_an_artifact_whose_memory_the_cell_has_cut_off_is_an_empty_one() -> None:
    with artifact(b"seven b") as fd:
        os.ftruncate(fd, 3)
        assert build._contents(fd, 7) == b""


class artifact:  # noqa: N801 - reads as a statement
    """A memfd such as a build cell is given, with `data` in it."""

    def __init__(self, data: bytes) -> None:
        self._fd = os.memfd_create("artifact")
        os.ftruncate(self._fd, mmap.PAGESIZE)
        os.pwrite(self._fd, data, 0)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


@pytest.mark.parametrize(
    "words",
    [None, 7, "x" * (1 << 20), {"k": "x" * (1 << 17)}, [1, 2], {"n": list(range(20_000))}],
    ids=["none", "number", "text", "long", "list", "many"],
)
def test_what_a_cell_says_of_its_kernel_is_dropped_where_it_is_nonsense_or_too_long(words: Any) -> None:
    assert build.described({"type": "built", "describe": words}) == {}


def test_what_a_cell_says_of_its_kernel_is_made_printable() -> None:
    said = build.described({"type": "built", "describe": {"re\x1bg": ["\ud800", {"a\x00": "\u202e"}], "n": 3}})
    assert said == {"re\\x1bg": ["\\ud800", {"a\\x00": "\\u202e"}], "n": 3}


def test_a_flood_of_json_in_the_channel_is_refused_in_bounded_memory() -> None:
    reader = protocol.Reader(protocol.MAX_FROM_CELL)
    tracemalloc.start()
    try:
        reader.feed((protocol.MAX_FROM_CELL).to_bytes(4, "big"))
        for _ in range(protocol.MAX_FROM_CELL >> 20):
            reader.feed(b"[" * (1 << 20))
        with pytest.raises(protocol.ProtocolError):
            reader.next()
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.sandbox
def test_a_cell_that_writes_megabytes_of_json_into_the_channel_is_an_integrity_violation(judge: JudgeOne) -> None:
    body = """
        import os, socket
        for fd in os.listdir("/proc/self/fd"):
            try:
                if os.readlink("/proc/self/fd/" + fd).startswith("socket:"):
                    body = b'{"type": "done", "x": "' + b"x" * (3 << 20) + b'"}'
                    socket.socket(fileno=os.dup(int(fd))).sendall((len(body)).to_bytes(4, "big") + body)
            except OSError:
                pass
        return a + b
        """
    judge(compare(forward(body), timeout=120)).ended(Verdict.INTEGRITY_VIOLATION, "channel")
