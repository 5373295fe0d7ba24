"""How near evald's figure comes to the hardware's own clock, and how well it repeats itself.

    python bench/accuracy.py [--evaluations 10] [--max-s 2.0] [--target-rse 0.003] [--device auto|cpu|cuda]
        [--only RUNG …] [--no-ncu]

Every rung of `ladder.py` four ways, in one run on one machine: by evald (its whole protocol, `--evaluations` times,
each in a cell of its own); by a plain process that does the same without evald, a graph of many calls between two
events; by ncu (`gpu__time_duration` of one call by itself, caches flushed, clocks left alone); and by the usual
benchmark helper (events around one call, a memset of 256 MiB before it). Without a GPU or ncu those columns are empty.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from ladder import LADDER, SMALL, Rung

from daemon.config import Sandbox, Settings, TimingDefaults
from daemon.engine import JobSpec
from daemon.evaluation import Timing
from daemon.executor.local import LocalEngine

HERE = Path(__file__).parent
FLUSH_BYTES = 256 << 20
EVENT_CALLS = 50
GRAPH_CALLS = 1000
GRAPH_BYTES = 8 << 30
GRAPH_LAUNCHES = 7
WAIT_CYCLES = 5_000_000  # before a graph: launching it takes up to 0.6 ms of a processor, which is no time of its own
PAUSE_S = 0.05  # between launches, as between rounds: at its power limit a GPU that never rests lowers its clocks
READY_S = 3.0  # after evaluations: the judge's next cells come up and load kernels, on the same GPU
SEPARATOR = "spin_kernel"
DURATION = "gpu__time_duration.sum"


@dataclass(frozen=True)
class Row:
    """Microseconds per call. `evald`: one figure per evaluation, the mean of its rounds; `medians`: theirs; `inside`:
    what the cells' own clocks said; `graph`: a plain process."""

    rung: Rung
    evald: tuple[float, ...]
    medians: tuple[float, ...]
    inside: tuple[float, ...]
    mode: str
    graph: float | None
    events: float | None
    ncu: float | None


def middle(figures: Sequence[float]) -> float | None:
    return statistics.median(figures) if figures else None


def spread(figures: Sequence[float]) -> str:
    """Coefficient of variation, percent."""
    return f"{statistics.stdev(figures) / statistics.median(figures) * 100:.2f}" if len(figures) > 1 else ""


def by_evald(engine: LocalEngine, rung: Rung, folder: Path, evaluations: int) -> list[Timing]:
    """One timing per evaluation of the rung's bundle."""
    bundle = folder / rung.name
    bundle.mkdir()
    shutil.copy(HERE / "ladder.py", bundle)
    (bundle / "contract.json").write_text(json.dumps(rung.contract()), "utf-8")
    found = []
    for number in range(evaluations):
        evaluation = engine.evaluate(JobSpec(f"{rung.name}-{number}", rung.name, bundle), lambda _: None)
        timing = evaluation.cases[0].timing if evaluation.cases else None
        if timing is None:
            raise SystemExit(f"{rung.name}: {evaluation.verdict}: {evaluation.message}")
        found.append(timing)
    return found


def by_events(rung: Rung) -> float:
    """The usual helper: flush, record, call, record; the median, microseconds."""
    tensors, flush = rung.tensors("cuda"), torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(EVENT_CALLS)]
    for _ in range(5):
        rung.function(*tensors)
    for first, last in pairs:
        flush.zero_()
        first.record()
        rung.function(*tensors)
        last.record()
    torch.cuda.synchronize()
    return statistics.median(first.elapsed_time(last) for first, last in pairs) * 1e3


def by_graph(rung: Rung) -> float:
    """What evald times, without evald: a graph of many calls, each on memory of its own that no cache holds, between
    two events; the median over launches, microseconds per call. Once only: of one rung's graph made anew in one
    process, the fourth and later ones were seen to take 0.3 us more a call."""
    torch.cuda.empty_cache()
    itemsize = getattr(torch, rung.dtype).itemsize
    size_bytes = sum(math.prod(shape) for shape in (*rung.inputs, rung.output)) * itemsize
    slots = [rung.tensors("cuda") for _ in range(max(1, min(GRAPH_CALLS, GRAPH_BYTES // size_bytes)))]
    flush = torch.ones(FLUSH_BYTES // 8, dtype=torch.int64, device="cuda")
    for tensors in slots[:3]:
        rung.function(*tensors)
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for tensors in slots:
            rung.function(*tensors)
    graph.replay()
    found = []
    for _ in range(GRAPH_LAUNCHES):
        time.sleep(PAUSE_S)
        flush.amax()
        torch.cuda.synchronize()
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda._sleep(WAIT_CYCLES)
        first.record()
        graph.replay()
        last.record()
        torch.cuda.synchronize()
        found.append(first.elapsed_time(last) * 1e3 / len(slots))
    return statistics.median(found)


def by_ncu(rung: Rung) -> float | None:
    """One call by itself as the hardware counts it, its kernels added up: the median over calls, microseconds."""
    argv = ["ncu", "--csv", "--page", "raw", "--metrics", DURATION, "--profile-from-start", "off"]
    argv += ["--cache-control", "all", "--clock-control", "none", "--print-units", "base"]
    argv += [sys.executable, str(HERE / "ladder.py"), rung.name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    rows = list(csv.DictReader(line for line in done.stdout.splitlines() if line.startswith('"')))
    if not rows:
        print(f"ncu says nothing of {rung.name}: {(done.stderr or done.stdout)[-300:]}", file=sys.stderr)
    found = list(_calls([row for row in rows if row["ID"]]))  # without the line of units
    return statistics.median(found) if found else None


def _us(row: dict[str, str]) -> float:
    return float(row[DURATION].replace(",", "")) / 1e3


def _calls(rows: Sequence[dict[str, str]]) -> Iterator[float]:
    """Microseconds per call: the kernels between two separators, added up."""
    total_us = 0.0
    for row in rows:
        if SEPARATOR not in row["Kernel Name"]:
            total_us += _us(row)
        elif total_us:
            yield total_us
            total_us = 0.0


def table(rows: Sequence[Row]) -> str:
    """Markdown. "apart": evald's figure from that of a plain process with a graph and events."""
    clocks = ("evald us", "spread %", "of medians %", "inside us", "spread %", "graph us")
    titles = ("kernel", *clocks, "apart us", "apart %", "ncu us", "events us")
    lines = [titles, ("---",) * len(titles)]
    for row in rows:
        ours, plain = statistics.median(row.evald), row.graph
        line = (
            f"{row.rung.name} ({row.mode})",
            _number(ours),
            spread(row.evald),
            spread(row.medians),
            _number(middle(row.inside)),
            spread(row.inside),
            _number(plain),
            "" if plain is None else f"{ours - plain:+.3f}",
            "" if plain is None else f"{(ours - plain) / plain * 100:+.1f}",
            _number(row.ncu),
            _number(row.events),
        )
        lines.append(line)
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if value < 1000 else f"{value:.1f}"


def row_of(rung: Rung, timings: Sequence[Timing], *, on_gpu: bool, has_ncu: bool) -> Row:
    """The other ways beside evald's, as far as this machine has them."""
    return Row(
        rung,
        evald=tuple(one.stats.mean * 1e3 for one in timings),
        medians=tuple(one.stats.median * 1e3 for one in timings),
        inside=tuple(one.inside_ms * 1e3 for one in timings if one.inside_ms is not None),
        mode=timings[0].mode,
        graph=by_graph(rung) if on_gpu else None,
        events=by_events(rung) if on_gpu else None,
        ncu=by_ncu(rung) if has_ncu else None,
    )


def tell(row: Row, timings: Sequence[Timing]) -> None:
    """One line while the others are still to come."""
    texts, inside = (" ".join(f"{one:.4g}" for one in figures) for figures in (row.evald, row.inside))
    costs = " ".join(f"{one.c0_us:.0f}+{one.c0_slope_us:.3f}n" for one in timings)
    ends = [f"{one.stop}/{len(one.samples_ms)}x{max(one.calls)}" for one in timings[:2]]
    print(f"{row.rung.name}: {texts} us; inside {inside}; c0 {costs}; {ends}, {timings[0].labels}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="evald's figure against ncu and against events.")
    parser.add_argument("--evaluations", type=int, default=10)
    parser.add_argument("--max-s", type=float, default=TimingDefaults().max_s, help="measuring, per evaluation")
    parser.add_argument("--target-rse", type=float, default=TimingDefaults().target_rse, help="where measuring stops")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--only", nargs="*", default=[], metavar="RUNG")
    parser.add_argument("--ncu", action=argparse.BooleanOptionalAction, default=True, help="ten seconds a rung")
    asked = parser.parse_args()
    torch.set_grad_enabled(False)
    with tempfile.TemporaryDirectory(prefix="evald-accuracy-") as home:
        settings = Settings(
            home=Path(home),
            device=asked.device,
            timing=TimingDefaults(max_s=asked.max_s, target_rse=asked.target_rse),
            sandbox=Sandbox(uid_base=1_000_000 + 10_000 * (os.getpid() % 100_000)),
        )
        settings.paths.create()
        engine = LocalEngine(settings)
        engine.start()
        on_gpu = engine.devices()[0].uuid is not None
        rungs = [rung for rung in (LADDER if on_gpu else SMALL) if not asked.only or rung.name in asked.only]
        has_ncu = asked.ncu and on_gpu and shutil.which("ncu") is not None
        print(f"on {engine.devices()[0].name}, {asked.evaluations} evaluations of each, {asked.max_s:g} s at most")
        rows: list[Row] = []
        with suppress(KeyboardInterrupt):  # a run that is cut short has a table too
            for rung in rungs:
                timings = by_evald(engine, rung, Path(home), asked.evaluations)
                time.sleep(READY_S if on_gpu else 0)
                rows.append(row_of(rung, timings, on_gpu=on_gpu, has_ncu=has_ncu))
                tell(rows[-1], timings)
        engine.close()
        print(table(rows))


if __name__ == "__main__":
    main()
