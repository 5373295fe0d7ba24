"""The threads of a process as the kernel shows them: which stand still, and how often each ran in between."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from daemon.executor.sandbox.owner import GONE

STOPPED_STATES = frozenset("TtZX")
UNINTERRUPTIBLE = "D"
_ENDED_STATES = frozenset("ZX")
_SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
_FORKING = {"x86_64": ("56", "58", "435"), "aarch64": ("220", "435")}  # clone, vfork, clone3
# read, pread64, readv, preadv, preadv2, sendfile, splice, copy_file_range; write, pwrite64, writev, pwritev, pwritev2,
# mmap and madvise, of memory that is a file's
_READING = {
    "x86_64": ("0", "17", "19", "295", "327", "40", "275", "326", "1", "18", "20", "296", "328", "9", "28"),
    "aarch64": ("63", "67", "65", "69", "286", "71", "76", "285", "64", "68", "66", "70", "287", "222", "233"),
}


@dataclass(frozen=True)
class Thread:
    """One look at a thread: the letter of its state, and its counts of context switches, as proc(5) has them."""

    number: str
    state: str
    switches: str

    @property
    def has_ended(self) -> bool:
        return self.state in _ENDED_STATES


def are_stopped(threads: list[Thread]) -> bool:
    """Whether none of them runs, or could without a signal."""
    return all(thread.state in STOPPED_STATES for thread in threads)


def threads_of(pid: int) -> list[Thread]:
    """Every thread: a leader that has exited shows Z while others go on. "T" for one that waits for a child that has
    its memory: no signal stops it, and it runs no sooner than the child, which has been stopped. Empty once all of it
    is gone. Raises `OSError` where it cannot be seen, for want of descriptors, say: it may run."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except GONE:
        return []
    threads = (_look_at(task) for task in tasks)
    return [
        replace(thread, state="T") if thread.state == UNINTERRUPTIBLE and _waits_for_child(task) else thread
        for task, thread in zip(tasks, threads, strict=True)
    ]


def reading(pid: int) -> dict[str, str]:
    """The threads of a process that wait for what they read from a file, by number, and their counts of context
    switches. A thread that gets some of it goes on to wait for the rest, and only a signal that kills comes between."""
    try:
        tasks = [task for task in Path(f"/proc/{pid}/task").iterdir() if _is_in(task, _READING)]
    except OSError:
        return {}
    threads = [_look_at(task) for task in tasks]
    return {thread.number: thread.switches for thread in threads if thread.state == UNINTERRUPTIBLE}


def _waits_for_child(task: Path) -> bool:
    """Whether a thread that is in the kernel is in vfork."""
    return _is_in(task, _FORKING)


def _is_in(task: Path, calls: Mapping[str, tuple[str, ...]]) -> bool:
    """Whether a thread is in one of these system calls, by their numbers on each architecture (proc(5), `syscall`)."""
    try:
        return (task / "syscall").read_text("ascii").split()[0] in calls.get(platform.machine(), ())
    except (OSError, UnicodeDecodeError):
        return False


def _look_at(task: Path) -> Thread:
    """State "X" once it is gone. Raises `OSError`."""
    try:
        lines = (task / "status").read_text("utf-8", errors="replace").splitlines()
    except GONE:
        return Thread(task.name, "X", "")
    fields = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return Thread(task.name, fields["State"][0], " ".join(fields.get(name, "") for name in _SWITCHES))
