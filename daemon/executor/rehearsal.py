"""An engine that runs nothing: for trying out a deployment (inbox, NFS, Postgres, systemd) before trusting it with
work.

Every bundle goes the whole way through claim, lease, copy, parse, publish and archive. The answer is `unsupported`,
with a message that says it was a rehearsal. It can never say `passed`. With the setting `device = "cpu"` it plays a
host without a GPU: bundles that require one wait for another host.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from daemon.contract import Requirements
from daemon.engine import DeviceState, JobSpec, Progress, given_up
from daemon.evaluation import Environment, Evaluation
from daemon.executor.host.devices import CPU, refusal
from daemon.verdict import Phase, Verdict

MESSAGE = "rehearsal: the bundle was taken, read and put away; nothing of it was run"


class RehearsalEngine:
    """`Engine` that waits `pause_s` instead of judging. Without `has_gpu` it refuses bundles that require a GPU."""

    def __init__(self, slots: int, pause_s: float, *, has_gpu: bool = True) -> None:
        self._slots = slots
        self._pause_s = pause_s
        self._has_gpu = has_gpu
        self._cancelled: dict[str, threading.Event] = {}
        self._closed = False

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def at_once(self) -> int:
        return self._slots

    @property
    def silence_s(self) -> float:
        return self._pause_s

    def devices(self) -> tuple[DeviceState, ...]:
        return tuple(DeviceState(slot, "none", "rehearsal", None) for slot in range(self._slots))

    def refusal(self, requires: Requirements) -> str | None:
        return None if self._has_gpu else refusal(requires, (CPU,))

    def start(self) -> None:
        """Nothing to start."""

    def ready(self) -> None:
        """Always."""

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        """Wait, then say that nothing was run. Raises `LostClaim` when cancelled."""
        event = self._cancelled.setdefault(job.job_id, threading.Event())
        if self._closed:  # perhaps just now, when it did not know of this one
            event.set()
        start = time.monotonic()
        on_progress(Progress(job.job_id, "rehearsing"))
        cancelled = event.wait(self._pause_s)
        self._cancelled.pop(job.job_id, None)
        if cancelled:
            raise given_up(job.job_id)
        return Evaluation(
            verdict=Verdict.UNSUPPORTED,
            phase=Phase.BUILD,
            message=MESSAGE,
            evaluate_ms=(time.monotonic() - start) * 1e3,
            environment=Environment(device="none", isolation="rehearsal"),
        )

    def cancel(self, job_id: str) -> None:
        if (event := self._cancelled.get(job_id)) is not None:
            event.set()

    def close(self) -> None:
        self._closed = True
        for event in list(self._cancelled.values()):
            event.set()
