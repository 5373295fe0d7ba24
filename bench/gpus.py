"""Several GPUs of one host: evaluations a minute by one and by all, and whether a kernel's time is the same there.

    python bench/gpus.py [--bundles 16] [--max-s S] [--elements N]

The bundles of `throughput.py`, `--bundles` of them for each GPU, all at once, after half as many that only warm up:
into a daemon with the first GPU alone, into one with the second alone and so on, then into one with all of them.
Printed are the rates, the verdicts that are right, and by GPU the median of the kernels' times, alone and while the
others judge too; below that the medians of the stages.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from throughput import EVERY_WRONG, RATES, asked, at_once, bundle, rate, running

from daemon.executor.host.devices import choose
from daemon.layers import load


def judged(arguments: argparse.Namespace, gpus: list[str], scratch: Path) -> tuple[float, list[Any]]:
    """Seconds for as many bundles as these GPUs are to get, dropped at once, and their results."""
    os.environ["EVALD_GPUS"] = ",".join(gpus)

    def made(name: str, number: int) -> Path:
        return bundle(scratch / "made" / name, number, "cuda", arguments.elements, arguments.max_s)

    with running(scratch / "home", "cuda") as evald:
        count = arguments.bundles * len(gpus)
        at_once(evald, [made(f"first{number}", 1000 * EVERY_WRONG + number) for number in range(count // 2)])
        return at_once(evald, [made(f"relu{number}", number) for number in range(count)])


def tell(gpus: list[str], wall_s: float, documents: list[Any]) -> None:
    """What these GPUs did together, then each of them."""
    rate(" and ".join(gpus), wall_s, [document["verdict"] for document in documents])
    passed = [document for document in documents if document["verdict"] == "passed"]
    times_us: dict[str, list[float]] = {}
    for document in passed:
        median_ms = document["cases"][0]["timing"]["stats"]["median"]
        times_us.setdefault(str(document["environment"]["device_index"]), []).append(median_ms * 1e3)
    for gpu, some in sorted(times_us.items()):
        spread = f"{min(some):.2f} to {max(some):.2f}"
        print(f"  on {gpu}: {len(some)} passed, {statistics.median(some):.2f} us, {spread}")
    stages = [document["cases"][0]["stages_ms"] for document in passed]
    medians = {name: statistics.median(one.get(name, 0.0) for one in stages) for name in stages[0]} if stages else {}
    print("  ms:", ", ".join(f"{name} {value:.0f}" for name, value in medians.items()), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description="One GPU of this host against all of them.")
    parser.add_argument("--bundles", type=int, default=16, help="for each GPU")
    arguments, judged_on = asked(parser)
    gpus = [str(device.index) for device in choose(load({"device": arguments.device}).settings)]
    if judged_on.kind == "cpu" or len(gpus) < 2:
        print("not measured: it takes a host with two GPUs at least")
        return 0
    print(f"{len(gpus)} x {judged_on}, kernels on {arguments.elements * 4 / 1e6:.1f} MB")
    print(RATES)
    with tempfile.TemporaryDirectory() as scratch:
        for number, some in enumerate([*([gpu] for gpu in gpus), gpus]):
            tell(some, *judged(arguments, some, Path(scratch) / str(number)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
