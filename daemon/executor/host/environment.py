"""What this machine is, for the result: read from the system, never guessed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from daemon.evaluation import Environment
from daemon.executor.host.devices import Device
from daemon.executor.sandbox.probe import Isolation
from daemon.versions import evald_version, version_of

_LSCPU, _LSCPU_LIMIT_S = "/usr/bin/lscpu", 30.0


def describe(
    device: Device, isolation: Isolation, versions: dict[str, str | None], clocks: dict[str, float]
) -> Environment:
    """The environment of results judged here. `versions`: torch, triton and python of the judge, which are those of its
    cells."""
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


def cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str | None:
    """What the processor calls itself; None where nothing tells."""
    for line in cpuinfo.read_text("utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return _name_by_numbers() or platform.processor() or None


@cache
def _name_by_numbers() -> str | None:
    """The name by which lscpu(1) knows it. lscpu has lists of the numbers that ARM's processors go by (`CPU part` of
    `CPU implementer`)."""
    try:
        told = subprocess.run(
            [_LSCPU, "--json"],
            env={"LC_ALL": "C"},
            capture_output=True,
            timeout=_LSCPU_LIMIT_S,
            check=True,
        )
        fields = json.loads(told.stdout)["lscpu"]
        names = [field["data"] for field in _flat(fields) if field["field"] == "Model name:"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None
    return next((name for name in names if name.strip(" -")), None)


def _flat(fields: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for field in fields:
        yield field
        yield from _flat(field.get("children", []))
