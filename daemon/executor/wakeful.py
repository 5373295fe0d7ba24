"""A processor that does not fall asleep between the turns of cells. Trusted side.

Theory of operation: a cell is frozen while the judge prepares a round, and meanwhile nothing runs on the processor that
cells are kept to. It dozes off, on a virtual machine it is given to somebody else, and waking it up takes up to 100 us
more, or not, from round to round: about half of what rounds of one kernel differed by (H200, 16 virtual processors: 69
to 102 us without, 18 to 44 us with this). So a process that does nothing keeps it busy as long as rounds are timed. It
runs only when nobody else wants to: a cell that is thawed has the processor at once (SCHED_IDLE), and as long as it
wants to (`IdleGroup`).
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from daemon.executor.sandbox.cgroup import Cgroups
from daemon.executor.sandbox.idle_group import IdleGroup

_REST, _SPIN = b"r", b"s"
# Told what to do by its standard input, and ends with it: whoever started it may be killed at any time.
_PROGRAM = """
import os, select, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
while word := os.read(0, 1):
    while word == b"s" and not select.select([0], [], [], 0)[0]:
        for _ in range(20000):
            pass
"""


class Wakeful:
    """Keeps `processor`, if there is one, awake while `awake` lasts; `groups`: those that cells are in. Where that
    cannot be had, times are noisier, not wrong."""

    def __init__(self, processor: int | None, groups: Cgroups | None) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._group: IdleGroup | None = None
        if processor is None:
            return
        command, nowhere = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(processor)], subprocess.DEVNULL
        with suppress(OSError):
            self._process = subprocess.Popen(
                command, bufsize=0, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True
            )
            self._group = IdleGroup(groups, self._process.pid)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @contextmanager
    def awake(self) -> Iterator[None]:
        self._tell(_SPIN)
        try:
            yield
        finally:
            self._tell(_REST)

    def _tell(self, word: bytes) -> None:
        if self._process is not None and self._process.stdin is not None:
            with suppress(BrokenPipeError):
                self._process.stdin.write(word)

    def close(self) -> None:
        """End it."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.kill()  # it may be stopped, or never get the processor
            self._process.wait()
        if self._group is not None:
            self._group.remove()
