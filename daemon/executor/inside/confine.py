"""What a cell does to itself first: it sets its limits and its system call filter, or it does not start."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from daemon.executor.inside import seccomp

_LEAST_PRIORITY = 19
_PENDING_SIGNALS = 1024
# Byte. At 0 the kernel runs a program that core_pattern names, as root, for every crash (core(5)); at 1 it runs none.
# A hard limit may be lowered: the call filter keeps it where it is.
_NO_CORE = 1


def confine(limits: dict[str, int]) -> None:
    """Set hard rlimits from `limits` (processes, open_files, file_bytes, and address_bytes where no cgroup is), then
    the call filter. With `background` it gets only what nobody else wants of the processors, of those that it is given.
    Time is the judge's to limit.

    Hard limits cannot be raised again: the cell has no capabilities. Raises `OSError` or `RuntimeError` when a wall is
    missing: the cell must then exit.
    """
    _limit(resource.RLIMIT_CORE, _NO_CORE)
    _limit(resource.RLIMIT_NPROC, limits["processes"])
    _limit(resource.RLIMIT_NOFILE, limits["open_files"])
    _limit(resource.RLIMIT_FSIZE, limits["file_bytes"])
    _limit(resource.RLIMIT_MEMLOCK, 0)
    _limit(resource.RLIMIT_MSGQUEUE, 0)
    _limit(resource.RLIMIT_NICE, 0)  # or nothing of a host would run beside a cell whose daemon has such a limit raised
    _limit(resource.RLIMIT_RTPRIO, 0)
    _limit(resource.RLIMIT_SIGPENDING, _PENDING_SIGNALS)  # counted for the daemon's user too, whatever the namespace
    if "address_bytes" in limits:  # only where no cgroup holds the memory
        _limit(resource.RLIMIT_AS, limits["address_bytes"])
    if limits.get("background"):
        _step_back()
    seccomp.install(is_background=bool(limits.get("background")))
    _check_walls()


def _limit(which: int, value: int) -> None:
    _, hard = resource.getrlimit(which)
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (value, value))


def _step_back() -> None:
    """Take the lowest priority, for good: without a limit above 0 nobody may go back to a better one (sched(7))."""
    os.nice(_LEAST_PRIORITY)
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _check_walls() -> None:
    status = dict(
        line.split(":", 1) for line in Path("/proc/self/status").read_text("utf-8").splitlines() if ":" in line
    )
    if int(status["CapEff"], 16) or int(status["CapPrm"], 16) or int(status["NoNewPrivs"]) != 1:
        raise RuntimeError(f"cell has privileges: CapEff {status['CapEff']} NoNewPrivs {status['NoNewPrivs']}")
    if int(status["Seccomp"]) != 2:  # noqa: PLR2004 - SECCOMP_MODE_FILTER
        raise RuntimeError("cell has no system call filter")
