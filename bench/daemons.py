"""What the benchmarks of the daemon share: a rehearsing daemon over a home, bundles to drop, spreads, the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REHEARSAL = {"ENGINE": "rehearsal", "REHEARSAL_S": "0.001", "MIN_FREE_BYTES": "1", "LOG_LEVEL": "error"}
SOURCE = "class Model(nn.Module):\n    def forward(self):\n        return torch.ones(1)\n"
EVALD = [sys.executable, "-m", "daemon"]
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """One line: the CPU, how many, the kernel, and how busy it was when the run began."""
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    models = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    load = "/".join(f"{value:.1f}" for value in os.getloadavg())
    release, version = platform.release(), platform.python_version()
    return f"{os.cpu_count()} x {', '.join(models)}, Linux {release}, Python {version}, load {load} before the run"


def spread(took_ms: Sequence[float]) -> str:
    """Median, 95th percentile, smallest, largest and count, as `HEADER` names them."""
    ordered = sorted(took_ms)
    p95 = ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)]
    return f"{statistics.median(ordered):9.2f} {p95:9.2f} {ordered[0]:9.2f} {ordered[-1]:9.2f} {len(ordered):6d}"


HEADER = f"{'':52}{'median':>9} {'p95':>9} {'min':>9} {'max':>9} {'count':>6}"


def row(what: str, took_ms: Sequence[float]) -> None:
    print(f"{what:52}{spread(took_ms)}", flush=True)


def timed_ms(function: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    function()
    return (time.perf_counter() - started_s) * 1e3


def environment(home: Path, **settings: str) -> dict[str, str]:
    given = {**REHEARSAL, **settings}
    return {**os.environ, "EVALD_HOME": str(home), **{f"EVALD_{key}": value for key, value in given.items()}}


@contextmanager
def running(home: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """`evald run` over `home`, ended by SIGTERM."""
    process = subprocess.Popen([*EVALD, "run"], env=environment(home, **settings), stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(300)


def prepare(home: Path, **settings: str) -> None:
    """A home with its folders and its database, by a sweep of nothing."""
    home.mkdir(parents=True, exist_ok=True)
    subprocess.run([*EVALD, "sweep"], env=environment(home, **settings), check=True, stderr=subprocess.DEVNULL)


def contract(name: str, **fields: object) -> str:
    return json.dumps({"name": name, "kernel": {"kernel_type": "torch", "source_code": SOURCE}, **fields})


def wait_until(condition: Callable[[], object], what: str, limit_s: float = 300.0, pause_s: float = 0.001) -> None:
    deadline_s = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"waited {limit_s:g} s in vain for: {what}")
        time.sleep(pause_s)


def cpu_s(pid: int) -> float:
    """Processor time that a process has used, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def below(pid: int) -> list[int]:
    """The processes started by `pid`, and by those."""
    children = [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text("utf-8").split()
    ]
    return [found for child in children for found in (child, *below(child))]
