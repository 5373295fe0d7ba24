"""Who made something outside this process (a cgroup, a folder), so that whoever comes later knows whether the maker
still lives.

A tag is `<pid namespace>-<pid>-<start time>`: a pid alone is reused, and another pid namespace counts its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def tag() -> str:
    """The tag of this process."""
    return f"{_namespace()}-{os.getpid()}-{_started(os.getpid())}"


def is_dead(owner: str) -> bool:
    """True only when the process of `owner` is provably gone; False for what is no tag or comes from another pid
    namespace."""
    namespace, _, rest = owner.partition("-")
    pid, _, started = rest.partition("-")
    if namespace != _namespace() or not pid.isdigit() or not started.isdigit():
        return False
    return _started(int(pid)) != started


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def _started(pid: int) -> str | None:
    """Clock ticks since boot. None when there is no such process, or only its zombie."""
    fields = stat_of(pid)
    return None if fields is None or fields[0] in ("Z", "X") else fields[19]


def stat_of(pid: int) -> list[str] | None:
    """/proc/PID/stat (proc(5)) from its third field, the state, on. None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None


def time_spent(pids: Iterable[int]) -> list[tuple[int, list[str]]]:
    """What each of these processes has had of processors so far (proc(5): utime, stime); without those that are gone.
    Of killed ones it grows as long as the kernel gives back what they had."""
    return [(pid, fields[11:13]) for pid in pids if (fields := stat_of(pid)) is not None]
