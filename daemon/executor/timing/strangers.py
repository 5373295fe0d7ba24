"""Processes of others on this GPU: work that one of them does must not be charged to a bundle.

NVML tells which processes have a context, and samples a few times a second how busy each kept the GPU. A cell's
processes descend from its judge whatever they do: their pid namespace ends with its first process, which is the
judge's. Sources: NVML API Reference, nvmlDeviceGetComputeRunningProcesses and nvmlDeviceGetProcessUtilization;
pid_namespaces(7).
"""

from __future__ import annotations

import os
import time
from typing import Protocol

from daemon.executor.sandbox.owner import stat_of

SAMPLES_WITHIN_S = 2.0  # NVML tells what a process did only some time later
LATE_BY_S = 0.6  # at the most, of what was seen
_BETWEEN_LOOKS_S = 0.1


class Utilization(Protocol):
    """What NVML says of the processes of one GPU."""

    def with_context(self) -> frozenset[int]:
        """Pids of the processes that have a context, as this pid namespace counts; empty where it is not told."""

    def active_since(self, since_s: float) -> frozenset[int] | None:
        """Pids of those that kept the GPU busy at some time after `since_s` (seconds since the epoch); None where it is
        not told."""


def at_work(utilization: Utilization, since_s: float, within_s: float = 0.0) -> int | None:
    """The pid of a process that is not of this one's family and has kept the GPU busy after `since_s` (seconds since
    the epoch), or does so within `within_s`.

    Where NVML does not tell who was busy, whoever is there may have been. None where nobody else is there, and where
    NVML does not list this process itself, for then it counts pids as another namespace does.
    """
    deadline = time.monotonic() + within_s
    while strangers := _strangers(utilization.with_context()):
        active = utilization.active_since(since_s)
        if found := strangers if active is None else strangers & active:
            return min(found)
        if time.monotonic() > deadline:
            break
        time.sleep(_BETWEEN_LOOKS_S)
    return None


def _strangers(pids: frozenset[int]) -> frozenset[int]:
    return frozenset(pid for pid in pids if _is_strange(pid)) if os.getpid() in pids else frozenset()


def _is_strange(pid: int) -> bool:
    """Whether this process lives and does not descend from this one."""
    while pid > 1:
        if pid == os.getpid():
            return False
        if (fields := stat_of(pid)) is None:
            return False
        pid = int(fields[1])  # its parent
    return True
