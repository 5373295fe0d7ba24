"""The engine on this host: one judge process per slot, one job per judge.

Theory of operation: a slot's judge is started by the thread that first uses the slot and belongs to it for the parent-death signal,
so `evaluate` must be called from threads that live as long as the engine. A judge that fails or is cancelled is killed with its cells
and replaced at the next job. The judge has its own deadlines for everything a bundle does; the engine's hard limit only catches a judge
that hangs itself.
"""

from __future__ import annotations

import queue
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from daemon.config import Settings
from daemon.engine import JobSpec, Progress
from daemon.errors import HarnessError, LostClaim, OperatorError
from daemon.evaluation import Evaluation
from daemon.executor import protocol
from daemon.executor.supervise import PlainProgram, start_judge

_START_LIMIT_S = 120.0
_SILENCE_LIMIT_S = 900.0
_MAX_EVALUATION = 64 * 1024 * 1024


class JudgeProcess:
    """One judge and the channel to it."""

    def __init__(self, settings: Settings, slot: int) -> None:
        self._settings = settings
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-I", "-m", "daemon.executor.judge"]
        argv += [str(theirs.fileno()), settings.model_dump_json(), str(slot)]
        self.program: PlainProgram = start_judge(argv, keep_fds=(theirs.fileno(),))
        theirs.close()
        self._channel = ours
        self._reader = protocol.Reader(_MAX_EVALUATION)

    def await_ready(self) -> None:
        """Raises `OperatorError` when this host cannot judge at all, `HarnessError` when the judge died."""
        message = self._receive(_START_LIMIT_S)
        if message["type"] == "unusable":
            raise OperatorError(str(message["message"]))

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        """Judge `job`. Raises `HarnessError`."""
        try:
            protocol.send(self._channel, {"type": "evaluate", "job_id": job.job_id, "bundle_dir": str(job.bundle_dir)})
        except protocol.ClosedError as error:
            raise HarnessError("the judge is gone") from error
        while True:
            message = self._receive(_SILENCE_LIMIT_S)
            if message["type"] == "progress":
                on_progress(Progress(job.job_id, str(message["text"]), message.get("case")))
            elif message["type"] == "evaluation":
                return Evaluation.model_validate(message["evaluation"])
            else:
                raise HarnessError(str(message.get("message", "the judge failed")))

    def _receive(self, limit_s: float) -> protocol.Message:
        self._channel.settimeout(limit_s)
        try:
            return protocol.receive(self._channel, self._reader)
        except TimeoutError as error:
            raise HarnessError(f"the judge said nothing for {limit_s:.0f} s") from error
        except (protocol.ClosedError, protocol.ProtocolError, OSError) as error:
            raise HarnessError(f"the judge died: {error}") from error

    def kill(self) -> None:
        """Kill the judge; its cells die with it."""
        self.program.kill()
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()


class LocalEngine:
    """`Engine` on this host."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in range(settings.slots):
            self._free.put(slot)
        self._judges: dict[int, JudgeProcess] = {}
        self._running: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False

    @property
    def slots(self) -> int:
        return self._settings.slots

    def start(self) -> None:
        """Start a judge and wait until it is ready: fails early where this host cannot judge. Raises `OperatorError`."""
        slot = self._free.get()
        try:
            self._judge(slot)
        finally:
            self._free.put(slot)

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        slot = self._free.get()
        try:
            with self._lock:
                self._running[job.job_id] = slot
            start = time.monotonic()
            evaluation = self._judge(slot).evaluate(job, on_progress)
            return evaluation.model_copy(update={"evaluate_ms": (time.monotonic() - start) * 1e3})
        except (HarnessError, OperatorError) as error:
            self._discard(slot)
            if job.job_id in self._cancelled or self._closed:
                raise LostClaim(f"job {job.job_id} was cancelled") from error
            raise HarnessError(str(error)) from error
        finally:
            with self._lock:
                self._running.pop(job.job_id, None)
                self._cancelled.discard(job.job_id)
            self._free.put(slot)

    def _judge(self, slot: int) -> JudgeProcess:
        judge = self._judges.get(slot)
        if judge is None or judge.program.poll() is not None:
            judge = JudgeProcess(self._settings, slot)
            self._judges[slot] = judge
            judge.await_ready()
        return judge

    def _discard(self, slot: int) -> None:
        if (judge := self._judges.pop(slot, None)) is not None:
            judge.kill()

    def cancel(self, job_id: str) -> None:
        with self._lock:
            slot = self._running.get(job_id)
            if slot is None:
                return
            self._cancelled.add(job_id)
            judge = self._judges.get(slot)
        if judge is not None:
            judge.kill()

    def close(self) -> None:
        self._closed = True
        with self._lock:
            judges = list(self._judges.values())
        for judge in judges:
            judge.kill()
