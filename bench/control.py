"""Whether a judge that has judged for long still measures what a fresh one does: warm against fresh, target 2 %.

    python bench/control.py [--evaluations 20] [--controls 5] [--max-s 2.0] [--device auto|cpu|cuda]

One judge evaluates `--evaluations` bundles of `ladder.py`. Then the control kernel is timed by it and by a judge
that was started for this one control, in turn, `--controls` times each: in cells of their own, by the whole protocol,
as `evald run` does every hour. Printed are the figures, the ratio of their medians, and how far the figures of either
judge are apart by themselves: a ratio within that says nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ladder import LADDER, SMALL

from daemon.config import Sandbox, Settings, TimingDefaults
from daemon.engine import JobSpec
from daemon.executor.control import Figures, bundle
from daemon.executor.local import LocalEngine

HERE = Path(__file__).parent
TARGET = 0.02
WARM_UIDS, FRESH_UIDS = 510_000, 520_000


@contextmanager
def engine(home: Path, arguments: argparse.Namespace, uid_base: int) -> Iterator[LocalEngine]:
    """An engine with one judge, which never times a control by itself."""
    settings = Settings(
        home=home,
        device=arguments.device,
        control_interval_s=0,
        sandbox=Sandbox(uid_base=uid_base),
        timing=TimingDefaults(max_s=arguments.max_s),
    )
    settings.paths.create()
    found = LocalEngine(settings)
    try:
        found.start()
        yield found
    finally:
        found.close()


def judge(engine: LocalEngine, folder: Path, number: int) -> None:
    """Evaluate one rung of the ladder."""
    rungs = SMALL if engine.devices()[0].kind == "cpu" else LADDER
    rung = rungs[number % len(rungs)]
    bundle_dir = folder / f"{number}-{rung.name}"
    bundle_dir.mkdir()
    shutil.copy(HERE / "ladder.py", bundle_dir)
    (bundle_dir / "contract.json").write_text(json.dumps(rung.contract()), "utf-8")
    evaluation = engine.evaluate(JobSpec(bundle_dir.name, rung.name, bundle_dir), lambda _: None)
    print(f"  {number + 1}: {rung.name}: {evaluation.verdict}", flush=True)


def control(engine: LocalEngine) -> Figures:
    """The control kernel, timed once."""
    with bundle(engine.devices()[0].kind) as folder:
        return Figures.of(engine.evaluate(JobSpec("control", "control", folder), lambda _: None))


def spread(found: list[Figures]) -> float:
    """How far the medians are apart, relative to the middle one."""
    medians = [figures.median_ms for figures in found]
    return (max(medians) - min(medians)) / statistics.median(medians)


def show(name: str, found: list[Figures]) -> float:
    """One line of figures in microseconds. Returns their median."""
    listed = "  ".join(f"{figures.median_ms * 1e3:9.2f}" for figures in found)
    print(f"{name:6} us: {listed}   spread {spread(found):.2%}")
    return statistics.median(figures.median_ms for figures in found)


def main() -> None:
    """Print warm against fresh."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=20)
    parser.add_argument("--controls", type=int, default=5)
    parser.add_argument("--max-s", type=float, default=2.0)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    arguments = parser.parse_args()
    warm: list[Figures] = []
    fresh: list[Figures] = []
    with tempfile.TemporaryDirectory() as name, engine(Path(name) / "warm", arguments, WARM_UIDS) as old:
        device = old.devices()[0]
        print(f"one judge on {device.name}, {arguments.evaluations} evaluations:", flush=True)
        for number in range(arguments.evaluations):
            judge(old, Path(name), number)
        for _ in range(arguments.controls):
            warm.append(control(old))
            with engine(Path(name) / "fresh", arguments, FRESH_UIDS) as new:
                fresh.append(control(new))
    ratio = show("warm", warm) / show("fresh", fresh)
    verdict = "met" if abs(ratio - 1) <= TARGET else "missed"
    if device.kind == "cpu":
        verdict = "unmeasured, for it is one of GPUs: nobody reserves the cores of a CPU"
    print(f"warm / fresh: {ratio:.4f}; target {TARGET:.0%}: {verdict}")


if __name__ == "__main__":
    main()
