"""How long commands take from being typed to having ended, most of which is imports.

    python bench/startup.py [--rounds 15]

An empty home, no terminal. The target is 150 ms for `evald --help`; the others are listed beside it, with an
interpreter that does nothing and one that only imports SQLAlchemy. Each has a second line with its processor time,
which says more where other work runs. `evald eval` starts a judge and a zygote, and each of them imports torch; theirs
is not in its processor time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import daemons

TARGET_MS = 150.0
COMMANDS = (
    ("--help",),
    ("run", "--help"),
    ("version",),
    ("status",),
    ("status", "nobody"),
    ("stats",),
    ("submit", "BUNDLE"),
    ("validate", "BUNDLE"),
    ("eval", "BUNDLE"),
)


def children_s() -> float:
    """Processor time of all processes that have ended, seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description="The start of commands.")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    print(daemons.machine())
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        daemons.prepare(home)
        bundle = Path(folder) / "mine.json"
        bundle.write_text(daemons.contract("mine"), "utf-8")
        lines = {f"evald {' '.join(argv)}": [*daemons.EVALD, *argv] for argv in COMMANDS}
        lines["python -c pass"] = [sys.executable, "-c", "pass"]
        lines["python -c 'import sqlalchemy.orm'"] = [sys.executable, "-c", "import sqlalchemy.orm"]
        took: dict[str, list[float]] = {what: [] for what in lines}
        cpu: dict[str, list[float]] = {what: [] for what in lines}
        environment = daemons.environment(home)
        for _ in range(arguments.rounds):  # in turn, so that whatever else runs on the machine hits all alike
            for what, words in lines.items():
                argv = [str(bundle) if word == "BUNDLE" else word for word in words]
                began_s, began_cpu_s = time.perf_counter(), children_s()
                subprocess.run(argv, env=environment, capture_output=True, check=False)
                took[what].append((time.perf_counter() - began_s) * 1e3)
                cpu[what].append((children_s() - began_cpu_s) * 1e3)
    print(daemons.HEADER)
    for what, found in took.items():
        daemons.row(f"{what}, ms", found)
        daemons.row(f"{'':8}processor ms", cpu[what])
    late = sum(found > TARGET_MS for found in took["evald --help"])
    print(f"evald --help: {late} of {arguments.rounds} took over {TARGET_MS:g} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
