"""A cgroup whose members run when no cell wants to.

Theory of operation: SCHED_IDLE makes a process give way to others of its own group. Between groups it is the groups
that take turns, and one with nothing but such a process in it has as large a share as a cell's: the process that keeps
a processor awake took half of it from the kernel that was being timed, a tick of the scheduler at a time (4 ms, Linux
6.18). So it gets a group beside those of the cells that is idle itself (`cpu.idle`, Linux 5.15). Without groups of
our own there may be those that Linux makes of sessions, which are as unfair; there a session can at least be nice.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from daemon.executor.sandbox import owner
from daemon.executor.sandbox.cell_group import remove_empty
from daemon.executor.sandbox.cgroup import Cgroups

_NICEST = "19"


class IdleGroup:
    """Has `pid` and nothing else in it. Where the kernel has no such group, or we may not make one, everything stays as
    it is, but that the session of `pid` is as nice as can be."""

    def __init__(self, groups: Cgroups | None, pid: int) -> None:
        self._folder: Path | None = None
        with suppress(OSError):
            Path(f"/proc/{pid}/autogroup").write_text(_NICEST, "ascii")
        if groups is None or "cpu" not in groups.bases:
            return
        try:
            folder = groups.bases["cpu"] / f"{owner.tag()}-idle"
            folder.mkdir()
            self._folder = folder
            (folder / "cpu.idle").write_text("1", "ascii")
            (folder / "cgroup.procs").write_text(str(pid), "ascii")
        except OSError:
            with suppress(OSError):
                self.remove()

    def remove(self) -> None:
        """Delete it. Its member must be gone, or never have come."""
        if self._folder is not None:
            remove_empty(self._folder)
            self._folder = None
