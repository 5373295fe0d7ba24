"""What a cell costs before it can be told anything: forked from the zygote against a fresh interpreter.

    python bench/cells.py [--cells 20] [--device auto|cpu|cuda]

Forked cells come up in namespaces, mounts, a uid, a cgroup and behind a call filter of their own. The fresh ones are
evald's cells without a sandbox (`isolation = "none"`): a Python that imports torch, and nothing else, so the ratio is
what forking saves although it also builds the walls. Both import the same and end with the same greeting.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from daemon.config import Sandbox, Settings
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host.devices import choose
from daemon.executor.sandbox import cgroup
from daemon.verdict import Side

UIDS = 530_000


def cells(home: Path, device: str, isolation: str, zygotes: Zygotes) -> Cells:
    settings = Settings.model_validate(
        {"home": home, "device": device, "isolation": isolation, "sandbox": Sandbox(uid_base=UIDS)}
    )
    of = CellSettings.of(settings, choose(settings)[0], uid_step=0, slot=0, threads=1)
    return Cells(of, cgroup.find() if isolation != "none" else None, zygotes)


def took_ms(made: Cells, count: int) -> list[float]:
    """From the order to the greeting, milliseconds."""
    found = []
    for _ in range(count):
        started_s = time.perf_counter()
        cell = made.start(Side.CANDIDATE)
        cell.greet()
        found.append((time.perf_counter() - started_s) * 1e3)
        cell.kill()
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="Forked cells against fresh interpreters.")
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments = parser.parse_args()
    zygotes = Zygotes()
    with tempfile.TemporaryDirectory() as home:
        forked = cells(Path(home), arguments.device, "bubblewrap", zygotes)
        (first,) = took_ms(forked, 1)
        later = took_ms(forked, arguments.cells)
        fresh = took_ms(cells(Path(home), arguments.device, "none", zygotes), max(arguments.cells // 4, 1))
        zygotes.close()
    print(f"{'':32}{'median':>9} {'min':>9} {'max':>9} {'count':>6}")
    for title, values in (
        ("forked, ms", later),
        ("fresh interpreter, ms", fresh),
        ("first, with its zygote, ms", [first]),
    ):
        print(f"{title:32}{statistics.median(values):9.1f} {min(values):9.1f} {max(values):9.1f} {len(values):6d}")
    print(f"fresh / forked: {statistics.median(fresh) / statistics.median(later):.0f} x")
    return 0


if __name__ == "__main__":
    sys.exit(main())
