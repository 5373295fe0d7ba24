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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from throughput import asked, at_once, bundle, is_wrong, running

from daemon.executor.devices import choose
from daemon.layers import load


def judged(arguments: argparse.Namespace, gpus: list[str], scratch: Path) -> tuple[float, list[Any]]:
    """Seconds for as many bundles as these GPUs are to get, dropped at once, and their results."""
    os.environ["EVALD_GPUS"] = ",".join(gpus)

    def made(name: str, number: int) -> Path:
        return bundle(scratch / "made" / name, number, "cuda", arguments.elements, arguments.max_s)

    with running(scratch / "home", "cuda") as evald:
        count = arguments.bundles * len(gpus)
        at_once(evald, [made(f"first{number}", 6000 + number) for number in range(count // 2)])
        return at_once(evald, [made(f"relu{number}", number) for number in range(count)])


def lines(gpus: list[str], wall_s: float, documents: list[Any]) -> Iterator[str]:
    """What these GPUs did together, then each of them."""
    right = sum(
        document["verdict"] == ("wrong_answer" if is_wrong(number) else "passed")
        for number, document in enumerate(documents)
    )
    yield f"{' and '.join(gpus):16}{len(documents) / wall_s * 60:10.1f} {right:10d} of {len(documents):2d}"
    times_us: dict[str, list[float]] = {}
    for document in documents:
        if document["verdict"] == "passed":
            stats = document["cases"][0]["timing"]["stats"]
            times_us.setdefault(str(document["environment"]["device_index"]), []).append(stats["median"] * 1e3)
    for gpu, some in sorted(times_us.items()):
        spread = f"{min(some):.2f} to {max(some):.2f}"
        yield f"  on {gpu:11}{'':10} {len(some):10d} passed, {statistics.median(some):8.2f} us, {spread}"
    stages = [document["cases"][0]["stages_ms"] for document in documents if document["verdict"] == "passed"]
    medians = {name: statistics.median(one.get(name, 0.0) for one in stages) for name in stages[0]} if stages else {}
    yield "  ms: " + ", ".join(f"{name} {value:.0f}" for name, value in medians.items())


def main() -> int:
    parser = argparse.ArgumentParser(description="One GPU of this host against all of them.")
    parser.add_argument("--bundles", type=int, default=16, help="for each GPU")
    arguments, judged_on = asked(parser)
    gpus = [str(device.index) for device in choose(load({"device": arguments.device}).settings)]
    if judged_on.kind == "cpu" or len(gpus) < 2:
        print("not measured: it takes a host with two GPUs at least")
        return 0
    print(f"{len(gpus)} x {judged_on}, kernels on {arguments.elements * 4 / 1e6:.1f} MB")
    print(f"{'GPUs':16}{'a minute':>10} {'verdicts right':>16}")
    with tempfile.TemporaryDirectory() as scratch:
        for number, some in enumerate([*([gpu] for gpu in gpus), gpus]):
            print(*lines(some, *judged(arguments, some, Path(scratch) / str(number))), sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
