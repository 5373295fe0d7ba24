"""`evald serve` under a crowd: how long clients wait, and whether /health stays quick.

    python bench/serving.py [--clients 200] [--rounds 3] [--slots 4] [--engine rehearsal|local]

Every client POSTs a kernel to /evaluate and waits for its result, all at once, `--rounds` times; meanwhile a probe asks
/health every 20 ms. By default a rehearsal judges, so that what is timed is evald and not a kernel. The probe runs in a
process of its own: one that shared the clients' event loop would time them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from pathlib import Path

import httpx

KERNEL = {
    "kernel_type": "torch",
    "source_code": "class Model(nn.Module):\n    def forward(self, x):\n        return x * 2\n"
    "def get_inputs():\n    return [torch.randn(1024)]\n",
}
TARGET_MS = 100.0


@contextmanager
def serving(home: Path, engine: str, slots: int) -> Iterator[str]:
    """A server on a free port; its URL."""
    settings = {"ENGINE": engine, "REHEARSAL_S": "0.01", "SLOTS": str(slots), "HTTP_PORT": "0", "LOG_LEVEL": "error"}
    environment = {**os.environ, "EVALD_HOME": str(home), **{f"EVALD_{key}": value for key, value in settings.items()}}
    command = [sys.executable, "-m", "daemon", "serve", "--json"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield json.loads("".join(process.stdout.readline() for _ in range(3)))["url"]
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def probe(url: str, done: Event, found: multiprocessing.Queue[list[float]]) -> None:
    """How long each GET /health took, milliseconds, until `done`."""
    took = []
    with httpx.Client(base_url=url, timeout=30) as client:
        while not done.is_set():
            started_s = time.perf_counter()
            client.get("/health")
            took.append((time.perf_counter() - started_s) * 1e3)
            time.sleep(0.02)
    found.put(took)


async def crowd(url: str, clients: int, rounds: int) -> list[float]:
    """How long each evaluation took, milliseconds, from request to result."""
    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as client:

        async def one(name: str) -> float:
            started_s = time.perf_counter()
            answer = await client.post("/evaluate", json={"name": name, "kernel": KERNEL})
            answer.raise_for_status()
            return (time.perf_counter() - started_s) * 1e3

        took: list[float] = []
        for number in range(rounds):
            took += await asyncio.gather(*(one(f"r{number}c{client}") for client in range(clients)))
        return took


def spread(took: list[float]) -> str:
    ordered = sorted(took)
    p95, p99 = ordered[int(len(ordered) * 0.95)], ordered[int(len(ordered) * 0.99)]
    return f"{statistics.median(took):8.1f} {p95:8.1f} {p99:8.1f} {ordered[-1]:8.1f} {len(took):7d}"


def main() -> int:
    parser = argparse.ArgumentParser(description="evald serve under a crowd.")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--engine", choices=["rehearsal", "local"], default="rehearsal")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home, serving(Path(home), arguments.engine, arguments.slots) as url:
        for _ in range(100):
            if httpx.get(f"{url}/health").status_code == httpx.codes.OK:
                break
            time.sleep(0.1)
        done, found = multiprocessing.Event(), multiprocessing.Queue()
        probing = multiprocessing.Process(target=probe, args=(url, done, found))
        probing.start()
        started_s = time.perf_counter()
        evaluations = asyncio.run(crowd(url, arguments.clients, arguments.rounds))
        wall_s = time.perf_counter() - started_s
        done.set()
        health = found.get(timeout=60)
        probing.join()
    print(
        f"{arguments.clients} clients at once, {arguments.rounds} rounds, {arguments.slots} slots, {arguments.engine}"
    )
    print(f"{'':24}{'median':>8} {'p95':>8} {'p99':>8} {'max':>8} {'count':>7}")
    print(f"{'GET /health, ms':24}{spread(health)}")
    print(f"{'POST /evaluate, ms':24}{spread(evaluations)}")
    print(f"{len(evaluations) / wall_s * 60:.0f} evaluations a minute")
    late = sum(took > TARGET_MS for took in health)
    print(f"{late} of {len(health)} health checks took over {TARGET_MS:g} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
