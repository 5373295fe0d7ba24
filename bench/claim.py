"""From drop to claim: how long until a bundle that appears in the inbox of an idle daemon is in work/.

    python bench/claim.py [--drops 100]

Bundles arrive by a rename from outside, as `mv` does it, and by `evald submit` (its function, in this process), one at
a time, with the daemon idle between them. The end is seen by asking for the inbox's name every half millisecond. The
target is 50 ms on a local disk. A rehearsal judges.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import daemons

from daemon.intake.submit import submit

TARGET_MS = 50.0


def by_mv(outside: Path, inbox: Path, name: str) -> Path:
    """Rename a prepared contract into the inbox; where it lies now."""
    (outside / name).write_text(daemons.contract(name), "utf-8")
    target = inbox / f"{name}.json"
    (outside / name).rename(target)
    return target


def by_submit(outside: Path, inbox: Path, name: str) -> Path:
    path = outside / f"{name}.json"
    path.write_text(daemons.contract(name), "utf-8")
    dropped = submit(path, inbox)
    return inbox / f"{name}.json@{dropped.job_id}"


def measure(drop: Callable[[Path, Path, str], Path], home: Path, prefix: str, drops: int) -> list[float]:
    outside, inbox = home / "outside", home / "inbox"
    outside.mkdir(exist_ok=True)
    took = []
    for number in range(drops):
        target = drop(outside, inbox, f"{prefix}{number}")
        began_s = time.perf_counter()
        while os.path.lexists(target):
            time.sleep(0.0005)
        took.append((time.perf_counter() - began_s) * 1e3)
        time.sleep(random.uniform(0.1, 0.4))
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description="From drop to claim.")
    parser.add_argument("--drops", type=int, default=100)
    arguments = parser.parse_args()
    print(daemons.machine())
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        daemons.prepare(home)
        with daemons.running(home):
            measure(by_mv, home, "first", 3)  # the daemon is up, and has done everything once
            moved = measure(by_mv, home, "mv", arguments.drops)
            submitted = measure(by_submit, home, "submit", arguments.drops)
    print(daemons.HEADER)
    daemons.row("mv to claim, ms", moved)
    daemons.row("evald submit to claim, ms", submitted)
    late = sum(took > TARGET_MS for took in moved + submitted)
    print(f"{late} of {len(moved) + len(submitted)} took over {TARGET_MS:g} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
