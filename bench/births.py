"""What the birth of another process on the GPU does to rounds that are being timed: why cells are not made meanwhile.

    python bench/births.py [--births 3]

Rounds of a few milliseconds, launches of one CUDA graph each, timed from outside one after the other; beside them
processes that were forked before come up step by step: CUDA, its context, the first allocation, the first kernels, the
end. For each step: how long it took, and the rounds during it against those when nothing else was going on.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

WARM_S, QUIET_S = 1.5, 0.5  # until the clocks stand still; without anybody
PAUSE_S = 0.05
NOTICEABLE = 1.02
STEPS = ("cuInit", "context", "first allocation", "first kernels")
END = "end"


@dataclass(frozen=True)
class Newborn:
    """A forked process that takes one step for every byte it is sent, and says when it is done."""

    pid: int
    orders: int
    answers: int

    def is_done(self) -> bool:
        try:
            return bool(os.read(self.answers, 1))
        except BlockingIOError:
            return False

    def is_gone(self) -> bool:
        return os.waitpid(self.pid, os.WNOHANG)[0] != 0


def come_up(orders: int, answers: int) -> None:
    """The life of a newborn. Does not return."""
    cuda, context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
    word: list[torch.Tensor] = []

    def first_kernels() -> None:
        (word[0].relu() + word[0].double()).cpu()

    steps: tuple[Callable[[], object], ...] = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), 0),
        lambda: word.append(torch.zeros(1, device="cuda")),
        first_kernels,
    )
    for step in steps:
        os.read(orders, 1)
        step()
        os.write(answers, b".")
    os.read(orders, 1)


def newborn() -> Newborn:
    """Forked before this process has touched CUDA."""
    (orders, order), (answer, answers) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            come_up(orders, answers)
        finally:
            os._exit(0)
    os.set_blocking(answer, False)
    return Newborn(pid, order, answer)


def tiny(calls: int) -> Callable[[], object]:
    word = torch.zeros(256, device="cuda")
    return lambda: [torch.add(word, 1, out=word) for _ in range(calls)]


def relu(calls: int) -> Callable[[], object]:
    pairs = [(torch.randn(1 << 25, device="cuda"), torch.empty(1 << 25, device="cuda")) for _ in range(8)]
    return lambda: [torch.clamp_min(x, 0, out=y) for x, y in (pairs * calls)[:calls]]


def captured(work: Callable[[], object]) -> torch.cuda.CUDAGraph:
    work()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph


def rounds_until(graph: torch.cuda.CUDAGraph, is_over: Callable[[], bool]) -> list[float]:
    """Microseconds of one round after the other; at least one."""
    walls = []
    while True:
        start = time.perf_counter()
        graph.replay()
        torch.cuda.synchronize()
        walls.append((time.perf_counter() - start) * 1e6)
        if is_over():
            return walls


def for_seconds(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


def line(what: str, took_ms: list[float], walls: list[float], usual: float) -> None:
    took = f"{statistics.median(took_ms):7.0f}" if took_ms else f"{'':7}"
    longer = sum(wall > NOTICEABLE * usual for wall in walls) / len(walls)
    mean, median = statistics.fmean(walls) / usual, statistics.median(walls) / usual
    print(
        f"  {what:18}{took}{len(walls):8d}{mean:10.4f}{median:10.4f}{longer:12.1%}{max(walls) / usual:10.2f}",
        flush=True,
    )


def beside_births(name: str, graph: torch.cuda.CUDAGraph, newborns: list[Newborn]) -> None:
    """The table of one kernel. Ends the newborns."""
    rounds_until(graph, for_seconds(WARM_S))
    quiet = rounds_until(graph, for_seconds(QUIET_S))
    usual = statistics.median(quiet)
    print(f"{name}: rounds of {usual:.0f} us\n  {'beside':18}{'ms':>7}{'rounds':>8}{'mean':>10}{'median':>10}", end="")
    print(f"{'2 % longer':>12}{'longest':>10}")
    line("nothing", [], quiet, usual)
    walls: defaultdict[str, list[float]] = defaultdict(list)
    took_ms: defaultdict[str, list[float]] = defaultdict(list)
    for one in newborns:
        for step in (*STEPS, END):
            start = time.monotonic()
            if step == END:
                os.kill(one.pid, signal.SIGKILL)
            else:
                os.write(one.orders, b".")
            walls[step] += rounds_until(graph, one.is_gone if step == END else one.is_done)
            took_ms[step].append((time.monotonic() - start) * 1e3)
            rounds_until(graph, for_seconds(PAUSE_S))
    for step in (*STEPS, END):
        line(step, took_ms[step], walls[step], usual)


def main() -> int:
    parser = argparse.ArgumentParser(description="Births beside rounds.")
    parser.add_argument("--births", type=int, default=3)
    births = parser.parse_args().births
    kernels: dict[str, tuple[Callable[[int], Callable[[], object]], int]] = {
        "add of 256, 2000 times": (tiny, 2000),
        "relu of 134 MB, 32 times": (relu, 32),
    }
    if not Path("/dev/nvidiactl").exists():
        print("unmeasured: there is no GPU")
        return 0
    waiting = [[newborn() for _ in range(births)] for _ in kernels]  # before CUDA is touched here
    print(torch.cuda.get_device_properties(0).name)
    for (name, (work, calls)), newborns in zip(kernels.items(), waiting, strict=True):
        beside_births(name, captured(work(calls)), newborns)
    return 0


if __name__ == "__main__":
    sys.exit(main())
