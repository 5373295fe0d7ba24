"""The bundles of `examples/`: cells that are forked against a fresh interpreter for each.

    python bench/demo.py [--device auto|cpu|cuda]

The same engine judges all of them twice: as it does, and without a sandbox and without spare cells, where each cell is
a Python that imports torch. The one that compiles an extension is left out: without a sandbox its folder has another
name each time, and it is compiled each time. The verdicts must be the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from daemon.config import Sandbox, Settings
from daemon.engine import JobSpec
from daemon.executor.host.devices import choose
from daemon.executor.local import LocalEngine

EXAMPLES = Path(__file__).parent.parent / "examples"
LEFT_OUT = {"relu-torch-cuda"}


def engine(home: Path, device: str, *, forked: bool) -> LocalEngine:
    changes = {} if forked else {"isolation": "none", "sandbox": Sandbox(spare_cells=0)}
    settings = Settings.model_validate({"home": home, "device": device, "control_interval_s": 0, **changes})
    settings.paths.create()
    return LocalEngine(settings)


def judged(made: LocalEngine, names: list[str]) -> dict[str, tuple[str, float]]:
    """Verdict and seconds of each bundle."""
    found = {}
    for name in names:
        start = time.perf_counter()
        verdict = made.evaluate(JobSpec(name, name, EXAMPLES / name), lambda _: None).verdict
        found[name] = (str(verdict), time.perf_counter() - start)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="The examples: forked cells against fresh interpreters.")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments = parser.parse_args()
    written = json.loads((EXAMPLES / "expected.json").read_text("utf-8"))
    names = [name for name in written if (EXAMPLES / name).is_dir() and name not in LEFT_OUT]
    with tempfile.TemporaryDirectory() as home:
        forked, fresh = (engine(Path(home), arguments.device, forked=way) for way in (True, False))
        try:
            forked.start()
            fresh.start()
            fast, slow = judged(forked, names), judged(fresh, names)
            where = choose(Settings(device=arguments.device))[0]
        finally:
            forked.close()
            fresh.close()
    print(f"{where}: {'':24}{'verdict':>20} {'forked, s':>10} {'fresh, s':>10}")
    for name in names:
        print(f"{name:34}{fast[name][0]:>20} {fast[name][1]:10.2f} {slow[name][1]:10.2f}")
    totals = [sum(seconds for _, seconds in found.values()) for found in (fast, slow)]
    print(f"{'all':54} {totals[0]:10.2f} {totals[1]:10.2f}   fresh / forked: {totals[1] / totals[0]:.1f} x")
    differing = [name for name in names if fast[name][0] != slow[name][0]]
    if differing:
        print("other verdicts without a sandbox:", ", ".join(differing))
    return 0


if __name__ == "__main__":
    sys.exit(main())
