"""Who made something outside this process (a cgroup, a folder), so that whoever comes later knows whether the maker
still lives.

A tag is `<pid namespace>-<pid>-<start time>`: a pid alone is reused, and another pid namespace counts its own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

GONE = (FileNotFoundError, ProcessLookupError)  # what /proc says of who is no more; all else: it cannot be seen
_STARTED = 19  # clock ticks since boot


def tag() -> str:
    """The tag of this process. Raises `OSError` where it cannot be had: no later process could tell whose that is."""
    return _tag_of(_namespace(), os.getpid())


@cache
def _tag_of(namespace: str, pid: int) -> str:
    """Looked up once: a process that has no descriptor left can then still make groups and folders."""
    return f"{namespace}-{pid}-{_fields(pid)[_STARTED]}"


os.register_at_fork(after_in_child=_tag_of.cache_clear)  # a pid may come again


def is_dead(owner: str) -> bool:
    """True only when the process of `owner` is provably gone. False if it is no tag, or comes from another pid
    namespace, or if this process can open no more files."""
    namespace, _, rest = owner.partition("-")
    pid, _, started = rest.partition("-")
    if namespace != _namespace() or not pid.isdigit() or not started.isdigit():
        return False
    try:
        fields = _fields(int(pid))
    except GONE:
        return True
    except OSError:
        return False
    return fields[0] in ("Z", "X") or fields[_STARTED] != started


def _namespace() -> str:
    return str(Path("/proc/self/ns/pid").stat().st_ino)


def stat_of(pid: int) -> list[str] | None:
    """/proc/PID/stat (proc(5)) from its third field, the state, on. None when there is no such process."""
    try:
        return _fields(pid)
    except OSError:
        return None


def _fields(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()


def time_spent(pids: Iterable[int]) -> list[tuple[int, list[str]]]:
    """The processor time of each of these processes so far (proc(5): utime, stime); without those that are gone. Of
    killed ones it grows as long as the operating system takes back what they had."""
    return [(pid, fields[11:13]) for pid in pids if (fields := stat_of(pid)) is not None]
