"""Evaluations a minute: evald against the same kernels judged without it, in one run.

    python bench/throughput.py [--bundles 24] [--device auto|cpu|cuda] [--max-s S] [--elements N] [--pause-s 2]

Distinct Triton ReLU kernels, every sixth one wrong, each compared with torch's. Three ways to judge them:

- **evald**: a daemon on an inbox, sandbox and whole measurement protocol; first one bundle at a time into the idle
  daemon (from the drop to the result, `--pause-s` after the result before), then all at once, after a few that came at
  once too;
- **process per bundle**: a fresh interpreter for each, `bench/plain_evaluator.py`, no isolation from the kernel;
- **one process**: the same in one process that has everything imported, nothing isolated from anything.

Where evald's time goes is printed by stage, from the results. On a CPU Triton's interpreter runs the kernels.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from daemon.executor.host.devices import Device

EVERY_WRONG = 6
IDLE_BUNDLES = 6
WARM_BUNDLES = 6  # at once: whatever a daemon starts for a crowd has been started after them
ELEMENTS = {"cpu": 1 << 18, "cuda": 1 << 25}  # 1 MB, 134 MB
BLOCKS = {"cpu": 1 << 16, "cuda": 1 << 10}
RATES = f"{'':24}{'a minute':>10} {'s each':>8} {'verdicts right':>16}"
GPU_STAGES = ("connect", "settle", "tune", "check", "size", "calibrate", "rounds", "alone", "numerics")
REFERENCE = """\
import torch
from torch import nn

class Model(nn.Module):
    def forward(self, x):
        return torch.relu(x)

def get_inputs():
    return [torch.randn({elements})]
"""
CANDIDATE = """\
import torch, triton
import triton.language as tl
from torch import nn

@triton.jit
def relu_{number}(x_ptr, y_ptr, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < n)
    tl.store(y_ptr + at, {body}, mask=at < n)

class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.empty_like(x)
        relu_{number}[(triton.cdiv(x.numel(), {block}),)](x, y, x.numel(), BLOCK={block})
        return y
"""


def is_wrong(number: int) -> bool:
    return number % EVERY_WRONG == EVERY_WRONG - 1


def io(device: str, elements: int) -> dict[str, Any]:
    """How the kernel is called, for evald; the module beside it in the source is for the ways without."""
    tensor = {"shape": [elements], "dtype": "float32"}
    args = [
        {"name": "x", "type": "tensor", "tensor_spec": tensor | {"init": {"kind": "randn"}}},
        {"name": "y", "type": "tensor", "role": "output", "tensor_spec": tensor},
        {"name": "n", "type": "int", "value": elements},
        {"name": "BLOCK", "type": "int", "value": BLOCKS[device], "is_meta": True},
    ]
    return {"args": args, "launch": {"grid": -(-elements // BLOCKS[device])}}


def written(
    folder: Path, source: str, kernel: dict[str, Any], elements: int, max_s: float | None, **fields: Any
) -> Path:
    """A bundle that compares `source`, a kernel as the contract describes it, with torch's."""
    folder.mkdir(parents=True)
    (folder / "reference.py").write_text(REFERENCE.format(elements=elements), "utf-8")
    (folder / "custom.py").write_text(source, "utf-8")
    contract: dict[str, Any] = {
        "name": folder.name,
        "ref_kernel": {"source_file": "reference.py", "kernel_type": "torch"},
        "custom_kernel": {"source_file": "custom.py", **kernel},
        **fields,
    }
    if max_s is not None:
        contract["timing"] = {"max_s": max_s}
    (folder / "contract.json").write_text(json.dumps(contract), "utf-8")
    return folder


def bundle(folder: Path, number: int, device: str, elements: int, max_s: float | None) -> Path:
    """One bundle, unlike every other."""
    body = "tl.abs(x)" if is_wrong(number) else "tl.maximum(x, 0.0)"
    source = CANDIDATE.format(number=number, body=body, block=BLOCKS[device])
    kernel = {"kernel_type": "triton", "io": io(device, elements)}
    return written(folder, source, kernel, elements, max_s, correctness_trials=5, num_trials=100)


@dataclass(frozen=True)
class Daemon:
    """`evald run` on a home of its own."""

    home: Path
    process: subprocess.Popen[bytes]

    def drop(self, folder: Path) -> None:
        folder.rename(self.home / "inbox" / folder.name)

    def found(self, name: str) -> dict[str, Any] | None:
        """The result of a bundle name, where there is one; nothing is waited for in vain."""
        file = self.home / "results" / "by-name" / name / "result.json"
        if not file.exists():
            if (code := self.process.poll()) is not None:
                sys.exit(f"evald run has ended, exit code {code}, and {name} has no result")
            return None
        document: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return document

    def result(self, name: str) -> dict[str, Any]:
        """Wait for the result of a bundle name."""
        while (document := self.found(name)) is None:
            time.sleep(0.002)
        return document


@contextmanager
def running(home: Path, device: str) -> Iterator[Daemon]:
    """A daemon, until the block ends."""
    (home / "inbox").mkdir(parents=True)
    environment = {**os.environ, "EVALD_HOME": str(home), "EVALD_DEVICE": device, "EVALD_LOG_LEVEL": "warning"}
    process = subprocess.Popen([sys.executable, "-m", "daemon", "run"], env=environment)
    try:
        yield Daemon(home, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def by_evald(arguments: argparse.Namespace, device: str, scratch: Path) -> tuple[float, list[Any], list[Any]]:
    """Seconds for all bundles at once, the results of those that came to an idle daemon one by one, and of all at
    once."""

    def made(name: str, number: int) -> Path:
        return bundle(scratch / "made" / name, number, device, arguments.elements, arguments.max_s)

    with running(scratch / "home", device) as evald:
        evald.drop(made("first", 1000 * EVERY_WRONG))
        evald.result("first")
        idle_s, idle = [], []
        for number in range(IDLE_BUNDLES):
            folder = made(f"idle{number}", 100 * EVERY_WRONG + number)
            time.sleep(arguments.pause_s)
            start = time.perf_counter()
            evald.drop(folder)
            idle.append(evald.result(folder.name))
            idle_s.append(time.perf_counter() - start)
        spread = f"p50 {statistics.median(idle_s):.3f} s, {min(idle_s):.3f} to {max(idle_s):.3f} s"
        print(f"from drop to result at an idle daemon: {spread} ({len(idle_s)} bundles)")
        waited_ms, judged_ms = (statistics.median(one[key] for one in idle) for key in ("queue_ms", "evaluate_ms"))
        print(f"of which waiting for a judge {waited_ms:.0f} ms, judged {judged_ms:.0f} ms", flush=True)
        at_once(evald, [made(f"warm{number}", 200 * EVERY_WRONG + number) for number in range(WARM_BUNDLES)])
        wall_s, documents = at_once(evald, [made(f"relu{number}", number) for number in range(arguments.bundles)])
        return wall_s, idle, documents


def at_once(evald: Daemon, folders: list[Path]) -> tuple[float, list[Any]]:
    """Seconds until all of them are judged, dropped one after the other, and their results."""
    start = time.perf_counter()
    for folder in folders:
        evald.drop(folder)
    documents = [evald.result(folder.name) for folder in folders]
    return time.perf_counter() - start, documents


def by_processes(folders: list[Path]) -> tuple[float, list[str]]:
    """Seconds for all bundles, each in an interpreter of its own, and their verdicts."""
    start, verdicts = time.perf_counter(), []
    evaluator = Path(__file__).with_name("plain_evaluator.py")
    for folder in folders:
        command = [sys.executable, str(evaluator), str(folder)]
        verdicts.append(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["verdict"])
    return time.perf_counter() - start, verdicts


def by_one_process(folders: list[Path], device: str) -> tuple[float, list[str]]:
    """Seconds for all bundles in this process, everything imported and warm, and their verdicts."""
    from plain_evaluator import evaluate  # imports torch

    evaluate(folders[0], device)
    start = time.perf_counter()
    verdicts = [evaluate(folder, device)[0] for folder in folders]
    return time.perf_counter() - start, verdicts


def rate(way: str, wall_s: float, verdicts: list[str]) -> None:
    """One line of the table, as soon as it is known."""
    right = ["wrong_answer" if is_wrong(number) else "passed" for number in range(len(verdicts))]
    agreed = sum(found == wanted for found, wanted in zip(verdicts, right, strict=True))
    count = len(verdicts)
    print(f"{way:24}{count / wall_s * 60:10.1f} {wall_s / count:8.3f} {agreed:10d} of {count:2d}", flush=True)


def stages(documents: list[Any], idle: list[Any], wall_s: float) -> None:
    """Medians by stage, of those that passed, and how much of the run each took."""
    if any(not document["cases"] for document in documents):
        sys.exit(f"evald judged nothing: {documents[0]['message']}")
    passed, one_by_one = (
        [document["cases"][0]["stages_ms"] for document in some if document["verdict"] == "passed"]
        for some in (documents, idle)
    )
    every = [case["stages_ms"] for document in documents for case in document["cases"]]
    print(f"{'stage':24}{'median ms':>10} {'of the run':>11} {'one by one':>11}")
    for name in passed[0]:
        of_run = sum(one.get(name, 0.0) for one in every) / 1e3 / wall_s
        at_once, alone = (statistics.median(one[name] for one in some) for some in (passed, one_by_one))
        print(f"{name:24}{at_once:10.1f} {of_run:11.1%} {alone:11.1f}")
    used = sum(one.get(name, 0.0) for one in every for name in GPU_STAGES) / 1e3 / wall_s
    print(f"{'stages that use a GPU':24}{'':10} {used:11.1%}")
    print(
        "timing stopped by:",
        dict(Counter(d["cases"][0]["timing"]["stop"] for d in documents if d["cases"][0]["timing"])),
    )


def asked(parser: argparse.ArgumentParser) -> tuple[argparse.Namespace, Device]:
    """What the command line says, with `elements` known, and the device that judges."""
    from daemon.executor.host.devices import choose
    from daemon.layers import load

    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument(
        "--max-s", type=float, help="how long to measure one case; the daemon's own default if not given"
    )
    parser.add_argument("--elements", type=int, help="of the input; 134 MB on a GPU, 1 MB on a CPU")
    arguments = parser.parse_args()
    judged_on = choose(load({"device": arguments.device}).settings)[0]
    arguments.elements = arguments.elements or ELEMENTS[judged_on.kind]
    return arguments, judged_on


def main() -> int:
    parser = argparse.ArgumentParser(description="evald against judging without it.")
    parser.add_argument("--bundles", type=int, default=24)
    parser.add_argument(
        "--pause-s", type=float, default=2.0, help="how long the daemon is idle before a bundle that comes by itself"
    )
    arguments, judged_on = asked(parser)
    device = judged_on.kind
    if device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # for the ways without evald; evald's cells set it themselves
    print(f"{judged_on}, {arguments.bundles} kernels on {arguments.elements * 4 / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)
        wall_s, idle, documents = by_evald(arguments, device, scratch)
        print(RATES)
        rate("evald", wall_s, [document["verdict"] for document in documents])
        stages(documents, idle, wall_s)
        print(RATES)
        folders = [
            bundle(scratch / "plain" / f"relu{number}", number, device, arguments.elements, None)
            for number in range(arguments.bundles)
        ]
        processes_s, verdicts = by_processes(folders)
        rate("process per bundle", processes_s, verdicts)
        one_s, verdicts = by_one_process(folders, device)
        rate("one process", one_s, verdicts)
    print(f"evald / process per bundle: {processes_s / wall_s:.2f} x")
    print(f"evald / one process: {one_s / wall_s:.2f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
