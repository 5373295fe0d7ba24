"""`evald run` with nothing to do: how much of a core and how much memory it takes, and its judge beside it.

    python bench/idle.py [--seconds 20] [--rounds 3] [--engine local|rehearsal]

The targets are 1 % of a core and 100 MB resident for the daemon's own process. A judge holds torch and an arena; it and
what it started are printed as one further line.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import daemons

TARGET_PCT = 1.0
TARGET_MB = 100.0


def used(pids: list[int]) -> float:
    return sum(daemons.cpu_s(pid) for pid in pids)


def line(what: str, shares_pct: list[float], memory_mb: float) -> None:
    shown = " ".join(f"{share:6.2f}" for share in sorted(shares_pct))
    print(f"{what:36} {shown} % of a core   {memory_mb:8.1f} MB resident")


def main() -> int:
    parser = argparse.ArgumentParser(description="An idle daemon.")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", choices=["rehearsal", "local"], default="local")
    arguments = parser.parse_args()
    print(daemons.machine())
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with daemons.running(home, ENGINE=arguments.engine, DEVICE="cpu") as process:
            daemons.wait_until((home / "state" / "evald.sqlite3").exists, "the database")
            time.sleep(15)  # the judge's start, and the control kernel's first timing
            judges = daemons.below(process.pid)
            daemon_pct: list[float] = []
            judge_pct: list[float] = []
            for _ in range(arguments.rounds):
                began_s, began, began_judges = time.monotonic(), daemons.cpu_s(process.pid), used(judges)
                time.sleep(arguments.seconds)
                passed_s = time.monotonic() - began_s
                daemon_pct.append((daemons.cpu_s(process.pid) - began) / passed_s * 100)
                judge_pct.append((used(judges) - began_judges) / passed_s * 100)
            daemon_mb = daemons.resident_mb(process.pid)
            judge_mb = sum(daemons.resident_mb(pid) for pid in judges)
    print(f"{arguments.rounds} rounds of {arguments.seconds:g} s, engine {arguments.engine}")
    line("evald run", daemon_pct, daemon_mb)
    line(f"its judge ({len(judges)} processes, shared counted twice)", judge_pct, judge_mb)
    met = max(daemon_pct) < TARGET_PCT and daemon_mb < TARGET_MB
    print(f"targets: under {TARGET_PCT:g} % and {TARGET_MB:g} MB: {'met' if met else 'missed'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
