"""A processor that does not fall asleep between the turns of cells.

Theory of operation: a cell is frozen while the judge prepares a round, and meanwhile nothing runs on the processor that
cells are kept to. It dozes off; on a virtual machine it is given to somebody else. Waking it up then takes up to 100 us
more in some rounds and not in others. That was about half of what rounds of one kernel differed by (H200, 16 virtual
processors: 69 to 102 us without, 18 to 44 us with this). So a process that does nothing keeps it busy between rounds.

It must not do so during rounds. It gives way to everybody (SCHED_IDLE, `IdleGroup`). But where groups cannot be had,
Linux divides the processor by sessions, and even the nicest one gets its turn once in a while: 4 ms in every seventieth
round of 5 ms (Linux 6.18). So it watches a byte that the judge changes right before it thaws a cell, and sleeps before
that cell is awake.
"""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from daemon.executor.sandbox.cgroup import Cgroups
from daemon.executor.sandbox.idle_group import IdleGroup

_SPIN = b"s"
# Told to begin by its standard input, and ends with it: whoever started it may be killed at any time.
_PROGRAM = """
import mmap, os, select, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
wanted, owner = mmap.mmap(int(sys.argv[2]), 1), select.poll()
owner.register(0, select.POLLHUP)
while os.read(0, 4096):
    while wanted[0] and not owner.poll(0):
        for _ in range(20000):
            if not wanted[0]:
                break
"""


class Wakeful:
    """Keeps `processor`, if there is one, awake while `awake` lasts and no cell has its turn; `groups`: those that
    cells are in. Where that cannot be had, times are noisier, not wrong."""

    def __init__(self, processor: int | None, groups: Cgroups | None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._group: IdleGroup | None = None
        self._is_on = False
        self._wanted = mmap.mmap(-1, 1)
        if processor is None:
            return
        with suppress(OSError):
            self._start(processor, groups)

    def _start(self, processor: int, groups: Cgroups | None) -> None:
        fd = os.memfd_create("wakeful")
        try:
            os.ftruncate(fd, 1)
            self._wanted = mmap.mmap(fd, 1)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _PROGRAM, str(processor), str(fd)],
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(fd,),
                start_new_session=True,
            )
        finally:
            os.close(fd)
        assert self._process.stdin is not None
        os.set_blocking(self._process.stdin.fileno(), False)  # it may never get the processor to read
        self._group = IdleGroup(groups, self._process.pid)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @contextmanager
    def awake(self) -> Iterator[None]:
        """One inside of another changes nothing."""
        was_on, self._is_on = self._is_on, True
        self.step_in()
        try:
            yield
        finally:
            self._is_on = was_on
            if not was_on:
                self.make_way()

    def make_way(self) -> None:
        """Leave the processor to a cell: it sleeps within a microsecond."""
        self._wanted[0] = 0

    def step_in(self) -> None:
        """Keep the processor busy until `make_way`, while `awake` lasts."""
        if self._is_on and self._process is not None and self._process.stdin is not None:
            self._wanted[0] = 1
            with suppress(BrokenPipeError, BlockingIOError):
                self._process.stdin.write(_SPIN)

    def close(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.kill()  # it may be stopped, or never get the processor
            self._process.wait()
        if self._group is not None:
            self._group.remove()
