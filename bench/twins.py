"""How far apart evald finds kernels that are the same: each of a few modules judged against a copy of itself.

    python bench/twins.py [--evaluations 6] [--max-s 2.0] [--mode auto|graph|stream] [--device auto|cpu|cuda]

The modules are chains of kernels of a microsecond or two, and one of a few larger ones. What such a chain takes on a
GPU depends on where in memory its intermediate results lie. So on a GPU the first chain is also timed by itself, as a
graph: with its results always at the same place, for several such places, and at changing places, as evald has them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import torch

from daemon.config import Settings, TimingDefaults
from daemon.engine import JobSpec
from daemon.executor.inside.recording import at_changing_places
from daemon.executor.local import LocalEngine

SOURCE = """\
import torch
from torch import nn

class {name}(nn.Module):
{body}

def get_inputs():
    return {inputs}
"""
CHAIN = """\
    def forward(self, a, b):
        for _ in range(20):
            a = torch.tanh(a + b)
        return a
"""
NORMS = """\
    def __init__(self):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(64) for _ in range(10)])

    def forward(self, x):
        for norm in self.norms:
            x = torch.relu(norm(x)) + x
        return x
"""
LINEARS = """\
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[layer for _ in range(6) for layer in (nn.Linear(128, 128), nn.GELU())])

    def forward(self, x):
        return self.layers(x)
"""
SOFTMAX = """\
    def forward(self, x):
        return torch.softmax(x * 0.5, dim=-1) @ x
"""
MODULES = {
    "chain of 40": (CHAIN, "[torch.randn(8, 8), torch.randn(8, 8)]"),
    "chain of 400 KB": (CHAIN, "[torch.randn(100, 1000), torch.randn(100, 1000)]"),
    "ten norms": (NORMS, "[torch.randn(16, 64)]"),
    "six linears": (LINEARS, "[torch.randn(32, 128)]"),
    "softmax, product": (SOFTMAX, "[torch.randn(1024, 1024)]"),
}
SHIFTS = (0, 4, 8, 16, 32, 48, 64, 96)
CALLS = 128
REPLAYS = 20


def written(folder: Path, body: str, inputs: str, timing: dict[str, object]) -> None:
    """A bundle in which candidate and reference are the same."""
    folder.mkdir()
    for file, name in (("reference.py", "Model"), ("custom.py", "ModelNew")):
        (folder / file).write_text(SOURCE.format(name=name, body=body, inputs=inputs), "utf-8")
    contract = {
        "name": folder.name,
        "ref_kernel": {"source_file": "reference.py", "kernel_type": "torch"},
        "custom_kernel": {"source_file": "custom.py", "kernel_type": "torch"},
        "timing": timing,
    }
    (folder / "contract.json").write_text(json.dumps(contract), "utf-8")


def judge(engine: LocalEngine, home: Path, name: str, arguments: argparse.Namespace) -> None:
    """One module, so many times: a line of how much faster than its twin it looked."""
    body, inputs = MODULES[name]
    speedups: list[float] = []
    words: list[str] = []
    took_us = 0.0
    for number in range(arguments.evaluations):
        folder = home / f"{name.replace(' ', '-').replace(',', '')}-{number}"
        written(folder, body, inputs, {"max_s": arguments.max_s, "mode": arguments.mode})
        evaluation = engine.evaluate(JobSpec(folder.name, folder.name, folder), lambda _: None)
        [case] = evaluation.cases
        if case.timing is None or case.ref_timing is None or case.comparison is None:
            print(f"{name:18} {evaluation.verdict}: {evaluation.message}", flush=True)
            return
        took_us = case.timing.stats.median * 1e3
        speedups.append(case.ref_timing.stats.median / case.timing.stats.median)
        words.append(str(case.comparison))
    apart = max(abs(one - 1) for one in speedups)
    said = ", ".join(f"{words.count(word)} {word}" for word in sorted(set(words)))
    listed = " ".join(f"{one:.3f}" for one in speedups)
    print(f"{name:18} {took_us:9.2f} us   {listed}   apart {apart:.1%}   {said}", flush=True)


def by_place() -> None:
    """The first chain as a graph of many calls, its intermediate results at one place after the other."""

    def call(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        for _ in range(20):
            a = torch.tanh(a + b)
        return a

    with torch.no_grad():
        given = [torch.randn(2, 8, 8, device="cuda") for _ in range(CALLS)]
        call(*given[0])
        fixed = [_time(_shifted(call, shift), given) for shift in SHIFTS]
        moved = [_time(at_changing_places(call, "cuda"), given) for _ in range(3)]
    for what, found in (("always at one place", fixed), ("at changing places", moved)):
        spread = max(found) / min(found) - 1
        print(f"by itself, {what:20} us: {' '.join(f'{one:.2f}' for one in found)}   spread {spread:.1%}")


def _shifted(call: Callable[..., torch.Tensor], shift: int) -> Callable[..., torch.Tensor]:
    def shifted(*args: torch.Tensor) -> torch.Tensor:
        in_the_way = torch.empty(shift * 512, dtype=torch.uint8, device="cuda")
        value = call(*args)
        del in_the_way
        return value

    return shifted


def _time(call: Callable[..., torch.Tensor], given: list[torch.Tensor]) -> float:
    """Microseconds a call, by events around launches of a graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for one in given:
            call(*one)
    found = []
    for _ in range(REPLAYS):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        graph.replay()
        last.record()
        torch.cuda.synchronize()
        found.append(first.elapsed_time(last) * 1e3 / len(given))
    return statistics.median(found[REPLAYS // 4 :])


def main() -> None:
    """Print a line for each module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=6)
    parser.add_argument("--max-s", type=float, default=2.0)
    parser.add_argument(
        "--mode", default="auto", choices=("auto", "graph", "stream"), help="as timing.mode in a contract"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        settings = Settings(
            home=home / "home",
            device=arguments.device,
            control_interval_s=0,
            timing=TimingDefaults(max_s=arguments.max_s),
        )
        settings.paths.create()
        with closing(LocalEngine(settings)) as engine:
            engine.start()
            device = engine.devices()[0]
            print(f"{device.name}: how many times as fast as its twin each looked", flush=True)
            for module in MODULES:
                judge(engine, home, module, arguments)
    if device.kind == "cuda":
        by_place()


if __name__ == "__main__":
    main()
