"""`evald`, whose rehearsed jobs take as long as a test wants: one called NAME ends when a file of that name is in the
folder that HELD_REHEARSALS names."""

from __future__ import annotations

import os
import runpy
import threading
from collections.abc import Callable
from pathlib import Path

from daemon.engine import JobSpec, Progress
from daemon.evaluation import Evaluation
from daemon.executor.rehearsal import RehearsalEngine

_LET_GO = Path(os.environ["HELD_REHEARSALS"])
_LOOK_EVERY_S = 0.02


class _Until(threading.Event):
    """Waited for in vain until `name` is let go."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._let_go = _LET_GO / name

    def wait(self, _timeout: float | None = None) -> bool:
        while not (is_set := super().wait(_LOOK_EVERY_S)) and not self._let_go.exists():
            pass
        return is_set


class HeldRehearsal(RehearsalEngine):
    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        self._cancelled[job.job_id] = _Until(job.name)
        return super().evaluate(job, on_progress)


if __name__ == "__main__":
    import daemon.opening

    daemon.opening.RehearsalEngine = HeldRehearsal  # type: ignore[misc]
    runpy.run_module("daemon", run_name="__main__", alter_sys=True)
