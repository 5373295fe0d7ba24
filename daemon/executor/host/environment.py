"""What this machine is, for the result: read from the system, never guessed."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from daemon.evaluation import Environment
from daemon.executor.host.devices import Device
from daemon.executor.sandbox.probe import Isolation
from daemon.versions import evald_version, version_of


def describe(
    device: Device, isolation: Isolation, versions: dict[str, str | None], clocks: dict[str, float]
) -> Environment:
    """The environment of results judged here. `versions`: torch, triton, python, of the
    judge, whose cells have the same."""
    return Environment(
        device=device.kind,
        device_name=device.name if device.is_gpu else cpu_name(),
        device_index=device.index if device.is_gpu else None,
        device_uuid=device.uuid,
        driver=device.driver,
        cuda=device.cuda,
        clocks=clocks,
        torch=versions.get("torch"),
        triton=versions.get("triton"),
        python=versions.get("python") or platform.python_version(),
        cpu=cpu_name(),
        cpu_count=os.cpu_count(),
        isolation=isolation.level,
        isolation_weaker=isolation.weaker,
        evald=evald_version(),
    )


def toolchain() -> dict[str, str | None]:
    """What compiles kernels here, by name: part of every key of the artifact cache. Imports torch."""
    import torch

    return {
        "torch": torch.__version__,
        "triton": version_of("triton"),
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "evald": evald_version(),
    }


def cpu_name() -> str | None:
    """What the processor calls itself; None where nothing tells."""
    for line in Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or None
