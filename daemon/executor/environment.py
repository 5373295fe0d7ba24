"""What this machine is, for the result: read from the system, never guessed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

from daemon.evaluation import Environment


def describe(device: str, isolation: str, weaker: tuple[str, ...], versions: dict[str, str | None]) -> Environment:
    """The environment of results judged here. `versions`: torch, triton, python as the cells report them."""
    return Environment(
        device=device,
        device_name=cpu_name() if device == "cpu" else None,
        torch=versions.get("torch"),
        triton=versions.get("triton"),
        python=versions.get("python") or platform.python_version(),
        cpu=cpu_name(),
        cpu_count=os.cpu_count(),
        isolation=isolation,
        isolation_weaker=weaker,
        evald=evald_version(),
    )


def evald_version() -> str:
    try:
        return importlib.metadata.version("evald")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def cpu_name() -> str | None:
    for line in Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None
