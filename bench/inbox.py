"""A long inbox: how soon the first bundle is claimed after `evald run` was typed, and what each costs after that.

    python bench/inbox.py [--waiting 500 10000 100000] [--judged 400] [--slots 1 4] [--rounds 3] [--folder /dev/shm]

For each length of the inbox a daemon is started on it, rehearses, and is stopped once it has judged `--judged`
bundles. A bundle's cost is wall time from the first result to the last, divided; it holds claim, lease, copy, result
files, publication and archive, and the millisecond of rehearsal. The targets: first claim within 1 s, 10 ms a bundle,
and no more than that for a longer inbox. Beside the wall time stands the daemon's processor time, which says more where
other work runs; `--folder` on a tmpfs leaves out what the disk takes to flush.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import daemons

TARGET_FIRST_S = 1.0
TARGET_MS = 10.0


def fill(home: Path, waiting: int) -> None:
    """Rename so many contracts into the inbox."""
    outside, inbox = home / "outside", home / "inbox"
    outside.mkdir()
    for number in range(waiting):
        name = f"bundle{number}"
        (outside / name).write_text(daemons.contract(name), "utf-8")
        (outside / name).rename(inbox / f"{name}.json")


def judged(archive: Path) -> int:
    return sum(1 for _ in os.scandir(archive)) if archive.is_dir() else 0


def measure(home: Path, wanted: int, slots: int) -> tuple[float, float, float, float]:
    """Wall and processor seconds to the first claim, then wall and processor milliseconds a bundle."""
    work, archive = home / "work", home / "archive"
    began_s = time.perf_counter()
    with daemons.running(home, SLOTS=str(slots)) as process:
        daemons.wait_until(lambda: any(os.scandir(work)), "the first claim", pause_s=0.002)
        first_s, first_cpu_s = time.perf_counter() - began_s, daemons.cpu_s(process.pid)
        daemons.wait_until(lambda: judged(archive) > 0, "the first result")
        before, since_s, cpu_s = judged(archive), time.perf_counter(), daemons.cpu_s(process.pid)
        daemons.wait_until(lambda: judged(archive) >= wanted, f"{wanted} results", pause_s=0.05)
        count = judged(archive) - before
        wall_ms = (time.perf_counter() - since_s) / count * 1e3
        return first_s, first_cpu_s, wall_ms, (daemons.cpu_s(process.pid) - cpu_s) / count * 1e3


def main() -> int:
    parser = argparse.ArgumentParser(description="A long inbox.")
    parser.add_argument("--waiting", type=int, nargs="+", default=[500, 10_000, 100_000])
    parser.add_argument("--judged", type=int, default=400)
    parser.add_argument("--slots", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", help="where the homes are made")
    arguments = parser.parse_args()
    print(daemons.machine())
    titles = ("first claim, s", "its cpu, s", "wall ms a bundle", "cpu ms a bundle")
    print(f"{'waiting':>8} {'slots':>6} {' '.join(f'{title:>24}' for title in titles)}")
    for waiting in arguments.waiting:
        for slots in arguments.slots:
            found = []
            for _ in range(arguments.rounds):
                with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
                    home = Path(folder)
                    daemons.prepare(home)
                    fill(home, waiting)
                    time.sleep(2.5)  # they have been waiting for longer than quiet_s
                    found.append(measure(home, arguments.judged, slots))
            parts = [" ".join(f"{one:7.2f}" for one in sorted(part)) for part in zip(*found, strict=True)]
            print(f"{waiting:8} {slots:6} {' '.join(f'{part:>24}' for part in parts)}", flush=True)
    print(f"targets: first claim within {TARGET_FIRST_S:g} s, {TARGET_MS:g} ms a bundle")
    return 0


if __name__ == "__main__":
    sys.exit(main())
