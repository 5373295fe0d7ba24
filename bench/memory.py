"""Whether an engine stays the same size: resident memory and open files of judge and zygote over many evaluations.

    python bench/memory.py [--evaluations 2000] [--device auto|cpu|cuda]

Small torch kernels, each with a source of its own, a tenth of them wrong and a tenth crashing: what lives long is the
judge, the zygote that cells are forked from, and this process in the daemon's place. Proportional memory counts what
forks share once.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from daemon.config import Settings
from daemon.engine import JobSpec
from daemon.executor.host.devices import choose
from daemon.executor.local import LocalEngine

SAMPLES = 10
CONTRACT = {
    "ref_kernel": {"source_file": "reference.py", "kernel_type": "torch"},
    "custom_kernel": {"source_file": "custom.py", "kernel_type": "torch"},
    "correctness_trials": 2,
    "num_trials": 5,
    "timing": {"max_s": 0.01, "target_rse": 0.9},
}
REFERENCE = """\
class Model(nn.Module):
    def forward(self, x):
        return x * 2

def get_inputs():
    return [torch.randn(4096)]
"""
CANDIDATE = """\
class ModelNew(nn.Module):  # {number}
    def forward(self, x):
        {before}
        return x {operator} 2
"""


def bundle(folder: Path, number: int) -> Path:
    folder.mkdir(exist_ok=True)
    operator = "+" if number % 10 == 3 else "*"
    before = "import os; os._exit(3)" if number % 10 == 7 else "pass"
    (folder / "contract.json").write_text(json.dumps(CONTRACT), "utf-8")
    (folder / "reference.py").write_text(REFERENCE, "utf-8")
    (folder / "custom.py").write_text(CANDIDATE.format(number=number, operator=operator, before=before), "utf-8")
    return folder


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def long_lived(judge: int) -> dict[str, int]:
    """This process, the judge, and what cells are forked from: the first Python below it that has children."""
    found = {"engine's own": int(Path("/proc/self").resolve().name), "judge": judge}
    below = [(judge, 0)]
    while below:
        pid, depth = below.pop()
        for child in children_of(pid):
            words = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"daemon.executor.inside.zygote" in words and not words.startswith(b"bwrap"):
                return found | {"zygote": child}
            if depth < 3:
                below.append((child, depth + 1))
    return found


def size_mb(pid: int) -> tuple[float, float, int]:
    """Resident and proportional memory in MB, and open files."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    kb = {line.split(":")[0]: int(line.split()[1]) for line in rollup[1:]}
    return kb["Rss"] / 1024, kb["Pss"] / 1024, len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser(description="Whether an engine stays the same size.")
    parser.add_argument("--evaluations", type=int, default=2000)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    arguments = parser.parse_args()
    verdicts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings.model_validate(
            {"home": Path(scratch) / "home", "device": arguments.device, "control_interval_s": 0}
        )
        settings.paths.create()
        print(f"{choose(settings)[0]}: resident MB (proportional MB, open files)")
        engine = LocalEngine(settings)
        engine.start()
        started_s = time.perf_counter()
        for number in range(arguments.evaluations + 1):
            if number % max(arguments.evaluations // SAMPLES, 1) == 0 and number > 0:
                judge = engine._judges[0].program._process.pid
                sizes = {name: size_mb(pid) for name, pid in long_lived(judge).items()}
                told = "   ".join(f"{name} {mb:6.1f} ({pss:6.1f}, {fds})" for name, (mb, pss, fds) in sizes.items())
                print(f"{number:6d}   {told}", flush=True)
            if number < arguments.evaluations:
                folder = bundle(Path(scratch) / "bundle", number)
                verdicts[str(engine.evaluate(JobSpec(f"{number:032x}", "m", folder), lambda _: None).verdict)] += 1
        wall_s = time.perf_counter() - started_s
        engine.close()
    print(f"{arguments.evaluations / wall_s * 60:.0f} evaluations a minute; verdicts {dict(verdicts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
