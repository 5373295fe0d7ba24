"""What the judge needs beside the tensors it looks at: some pieces, and no copies that are many times as large. How
large tensors may be is a setting; nobody asks what is made of them."""

from __future__ import annotations

import os
import subprocess
import sys

MIB = 1 << 20
_PROGRAM = """
import os
import sys
import torch
from pathlib import Path
from daemon.executor.content import drawing
from daemon.executor.cases import numerics, trivial, verify
from daemon.executor.content.arena import Arena
from daemon.executor.content.inputs import Secret
from daemon.executor.shared.layout import TensorShape, plan
from daemon.executor.content.memory import HostMemory

SIZE = 16 << 20
verify.CHUNK = drawing._SUMMED_AT_ONCE = 1 << 16


def peak_bytes():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def two(dtype):
    one = torch.ones(SIZE // dtype.itemsize, dtype=torch.float32).to(dtype)
    other = one.clone()
    other.view(torch.uint8)[5] ^= 1
    return one, other


def arena():
    layout = plan([("y", TensorShape("uint8", (SIZE,)), True, True)], 1)
    made = Arena(layout, HostMemory(layout.total_bytes))
    made.compose(Secret().generator(), [0])
    made.publish([0])
    return made, layout.fields[0]


def ready(what):
    match what:
        case "sums":  # of a size that no wider number fits into
            rows = torch.ones(1, SIZE + 1, dtype=torch.uint8)
            return lambda: drawing.checksums([rows])
        case "typical":
            answer, _ = two(torch.float8_e4m3fn)
            return lambda: trivial._typical(answer)
        case "spread":
            first, second = two(torch.float16)
            return lambda: numerics.spread_of([first], [second])
        case "gap":
            answer, exact = two(torch.float64)
            return lambda: numerics._gap(answer, exact)
        case "compared":
            got, expected = two(torch.float64)
            return lambda: verify.compare(got, expected, verify.Tolerance(1e-3, 1e-3))
        case "unwritten":
            made, field = arena()
            return lambda: made.unwritten([0], field)


torch.set_num_threads(1)
for what in sys.argv[1:]:
    if os.fork():  # a process for each: torch is imported once
        os.wait()
        continue
    look = ready(what)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew (proc(5))
    before = peak_bytes()
    look()
    print(what, peak_bytes() - before, flush=True)
    os._exit(0)
"""
_LOOKS = ("sums", "typical", "spread", "gap", "compared", "unwritten")


def test_looking_at_a_tensor_takes_no_multiple_of_its_memory() -> None:
    argv = [sys.executable, "-c", _PROGRAM, *_LOOKS]
    at_once = {"MALLOC_MMAP_THRESHOLD_": str(64 << 10)}  # what is freed is given back, as of pieces of a usual size
    done = subprocess.run(argv, env=os.environ | at_once, capture_output=True, text=True, timeout=300, check=False)
    took = {what: int(count) for what, count in (line.split() for line in done.stdout.splitlines())}
    assert tuple(took) == _LOOKS, done.stderr
    # For 16 MiB: all but one of these took four to twelve times as much, as a whole. What a build of torch has to load
    # for it counts as well, up to 10 MiB.
    assert {what: count for what, count in took.items() if count >= 32 * MIB} == {}
