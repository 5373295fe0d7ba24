"""A reference that is timed call by call has not made the inputs of its rounds itself: another process of its source
has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from executor_bundles import Doc, Judged, JudgeOne, compare, io, kernel, tensor, write_bundle

from daemon.engine import JobSpec, Progress
from daemon.executor.local import LocalEngine
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

CUSTOM = "class ModelNew(nn.Module):\n    def forward(self, x):\n        return x + x\n"
COUNTED = """
made = calls = 0

class Model(nn.Module):
    def forward(self, x):
        global calls
        calls += 1
        if {refused}:
            raise RuntimeError(f"inputs made in this process: {{made}}, calls: {{calls}}")
        return x * 2

def get_inputs():
    global made
    made += 1
    return [torch.randn(16)]
"""


def test_a_reference_is_not_timed_in_the_process_that_makes_its_inputs(judge: JudgeOne) -> None:
    judge(compare(CUSTOM, COUNTED.format(refused="made > 100"))).passed()


def test_a_source_that_takes_long_to_import_is_not_imported_once_more_for_its_inputs(judge: JudgeOne) -> None:
    slow = "import time\ntime.sleep(1.5)\n" + COUNTED.format(refused="calls > 2 * made + 40")
    judge(compare(CUSTOM, slow)).passed()


def test_calls_that_want_what_the_making_of_inputs_has_left_have_it(judge: JudgeOne) -> None:
    judge(
        compare(
            CUSTOM,
            "class Model(nn.Module):\n    def forward(self, x):\n        return x * factor\n"
            "def get_inputs():\n    global factor\n    factor = 2\n    return [torch.randn(16)]\n",
        )
    ).passed()


def test_inputs_that_want_what_the_constructor_has_left_are_made_beside_it(judge: JudgeOne) -> None:
    judge(
        compare(
            "class ModelNew(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
            "    def forward(self, x):\n        return x + x\n",
            "class Model(nn.Module):\n    def __init__(self, width):\n        super().__init__()\n"
            "        global size\n        size = width\n"
            "    def forward(self, x):\n        return x * 2\n"
            "def get_init_inputs():\n    return [8]\n"
            "def get_inputs():\n    return [torch.randn(size)]\n",
        )
    ).passed()


def test_inputs_that_cannot_be_made_are_the_references_fault_wherever(judge: JudgeOne) -> None:
    broken = CUSTOM.replace("ModelNew", "Model") + "def get_inputs():\n    return [oops]\n"
    judge(compare(CUSTOM, broken)).ended(Verdict.REJECTED, "oops")


def test_no_process_makes_inputs_that_nobody_asks_for(engine: LocalEngine, tmp_path: Path) -> None:
    named = {"metadata": {"function_name": "add"}}
    custom = kernel("import torch\ndef add(x, y):\n    torch.add(x, 1, out=y)\n", **named)
    custom["io"] = io(tensor("x", [64]), tensor("y", [64], role="output"))
    reference = "import torch\ndef add(x: torch.Tensor):\n    return x + 1\n"
    assert _processes_of(engine, tmp_path, custom, kernel(reference, **named)) == 1, "the reference alone"


@pytest.mark.parametrize(("pause_s", "processes"), [(0.0, 2), (0.25, 1)])
def test_inputs_that_take_long_to_make_are_not_made_once_more(
    engine: LocalEngine, tmp_path: Path, pause_s: float, processes: int
) -> None:
    source = COUNTED.format(refused="False").replace("    made += 1", f"    made += 1\n    time.sleep({pause_s})")
    assert _processes_of(engine, tmp_path, kernel(CUSTOM), kernel(f"import time\n{source}")) == processes


def _processes_of(engine: LocalEngine, folder: Path, custom: Doc, reference: Doc) -> int:
    """How many processes of the reference's source there are at once while rounds are timed."""
    name = f"waits{os.getpid()}"  # of a thread, on which the kernel allows 15 bytes
    waits = f"ctypes.CDLL(None).prctl(15, b'{name}'), threading.Event().wait()"
    thread = f"import ctypes, threading\nthreading.Thread(target=lambda: ({waits}), daemon=True).start()\n"
    seen = list[int]()

    def look(progress: Progress) -> None:
        if progress.text.startswith("timing"):
            seen.append(_threads_called(name))

    bundle = write_bundle(folder, compare(custom, {**reference, "source_code": thread + reference["source_code"]}), {})
    Judged(engine.evaluate(JobSpec("one", "test", bundle), look)).passed()
    return max(seen)


def _threads_called(name: str) -> int:
    found = 0
    for file in Path("/proc").glob("[0-9]*/task/*/comm"):
        with suppress(OSError):
            found += file.read_text("utf-8", "replace").strip() == name
    return found


def test_a_source_that_draws_from_a_generator_of_its_own_does_not_begin_again(judge: JudgeOne) -> None:
    judged = judge(
        compare(
            CUSTOM,
            "import numpy\nown = numpy.random.default_rng(7)\n"
            "class Model(nn.Module):\n    def forward(self, x):\n        return x * 2\n"
            "def get_inputs():\n    return [torch.from_numpy(own.random(16))]\n",
        )
    ).passed()
    assert "repeating_inputs" not in judged.case.labels
