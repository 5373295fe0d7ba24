"""The file with figures for Prometheus, which one process of this host keeps at a time.

A sweep beside a daemon has the same settings. At its end it would write that evald is down, and counters that jump
between those of two processes mean nothing. So whoever is there first keeps the file. When that process ends, the other
takes it.
"""

from __future__ import annotations

import os
from pathlib import Path

from daemon import fsio, log


class MetricsFile:
    """`path`, kept by the first process that writes there. A failure to write is logged once a minute."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock: int | None = None
        self._told = False
        self._complaint = log.Complaint("cannot write the metrics file")

    def write(self, text: str) -> None:
        try:
            if self._is_ours():
                fsio.write_atomic(self._path, text.encode())
        except OSError as error:
            self._complaint.say(error, file=self._path)

    def close(self) -> None:
        """Leave it to others."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _is_ours(self) -> bool:
        """Where nothing can be locked it is everybody's."""
        if self._lock is not None:
            return True
        lock = os.open(self._path.with_name(f".{self._path.name}.lock"), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            is_ours = fsio.try_lock(lock)
        except OSError:
            os.close(lock)
            return True
        if is_ours:
            self._lock = lock
            return True
        os.close(lock)
        if not self._told:
            self._told = True
            log.story("another evald keeps the metrics file", file=self._path)
        return False
