"""Real `evald serve` processes for the tests."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evald_processes
import httpx
from evald_processes import Evald, Held
from service_rehearsal import FAST
from waiting import wait_for

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)


@dataclass(frozen=True)
class Server:
    """One `evald serve` and where it listens."""

    process: subprocess.Popen[bytes]
    home: Path
    log: Path
    url: str

    @property
    def story(self) -> str:
        return self.log.read_text("utf-8", "replace")

    def client(self, token: str | None = None, timeout_s: float = 120) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=timeout_s)

    def results(self) -> list[Path]:
        return sorted((self.home / "results").glob("[0-9]*/*/result.json"))

    def let_go(self, *names: str) -> None:
        """One that is held comes to the end of these jobs now, or at once when it begins them."""
        evald_processes.let_go(self.home, names)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(300)


Serve = Callable[..., Server]


def evald(home: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "EVALD_HOME": str(home)}
    return evald_processes.evald(*argv, env=environment)


def started(home: Path, *options: str, is_held: bool = False, **settings: str) -> Server:
    """A server that judges nothing itself but rehearses, on a free port. With `is_held` it is at every job until that
    one is let go."""
    home.mkdir(exist_ok=True)
    log = home / f"serve{len(list(home.glob('serve*.log')))}.log"
    given = {**FAST, "HTTP_PORT": "0", "SANDBOX_UID_BASE": str(300_000 + 10_000 * WORKER), **settings}
    environment = {**os.environ, "EVALD_HOME": str(home), **{f"EVALD_{key}": value for key, value in given.items()}}
    with log.open("wb") as stream:
        process = (Held if is_held else Evald)("serve", *options, env=environment, stdout=stream, stderr=stream)

    def url() -> str | None:
        assert process.poll() is None, log.read_text("utf-8")
        found = re.search(r"serving url=(\S+)", log.read_text("utf-8"))
        return found[1] if found else None

    try:
        server = Server(process, home, log, str(wait_for(url, "the server to listen")))
        wait_for(lambda: answers(server, judges="never" not in options), "the server to answer")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return server


def answers(server: Server, *, judges: bool) -> bool:
    """Whether it answers, and has seen the daemon that judges in it."""
    try:
        return httpx.get(f"{server.url}/health", timeout=300).status_code in ((200,) if judges else (200, 503))
    except httpx.TransportError:
        return False


def events(
    client: httpx.Client, job_id: str, on_data: Callable[[Any], object] = lambda _: None
) -> list[tuple[str, Any]]:
    """Every event of a job's stream until it ends: (event, data)."""
    found: list[tuple[str, Any]] = []
    kind = ""
    with client.stream("GET", f"/jobs/{job_id}/events") as stream:
        assert stream.status_code == 200
        for line in stream.iter_lines():
            name, _, value = line.partition(": ")
            if name == "event":
                kind = value
            elif name == "data":
                found.append((kind, json.loads(value)))
                on_data(found[-1][1])
    return found
