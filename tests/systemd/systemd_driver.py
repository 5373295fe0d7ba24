"""The real service in a process of its own, with one fault built into its main loop. `argv`: home, fault, path.

Faults: `spin` (endless loop), `lock` (deadlock), `pipe` (a read that nobody answers, as of a hung file server). Each
begins once the path exists.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from daemon import log, opening
from daemon.config import Settings
from daemon.intake.readiness import Readiness, Seen
from daemon.stopping import stopping_on_signals

home, fault, trigger = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
look = Readiness.look


def faulty(self: Readiness, moved_in: frozenset[str], now_s: float) -> list[Seen]:
    if trigger.exists():
        if fault == "pipe":
            trigger.read_bytes()  # a named pipe: blocks until somebody writes
        elif fault == "lock":
            lock = threading.Lock()
            lock.acquire()
            lock.acquire()
        while fault == "spin":
            pass
    return look(self, moved_in, now_s)


Readiness.look = faulty  # type: ignore[method-assign]
log.setup("info")
settings = Settings(home=home, engine="rehearsal", scan_interval_s=0.1, quiet_s=0.2)
with opening.opened(settings) as daemon, stopping_on_signals(daemon.stop):
    daemon.run()
