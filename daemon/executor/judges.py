"""The judges of one engine: a process for each slot, started when it is wanted and ended with all that it started. No
torch.

Theory of operation: judges are started by one thread that lives as long as the engine, because the parent-death signal
belongs to the thread that started a process. A judge that is discarded is killed, and the next one is started when its
slot wants one. Its cells die with it, except those that were frozen: they, their cgroups and folders are swept right
after. The judge has its own deadlines for everything that a bundle does; the limit here only catches a judge that hangs
itself.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from daemon.config import Settings
from daemon.engine import JobSpec, Progress
from daemon.errors import DeviceError, FoundSick, HarnessError
from daemon.evaluation import Evaluation
from daemon.executor.artifacts.headers import MAKE_LIMIT_S
from daemon.executor.host.devices import Device
from daemon.executor.trusted import TrustedProcess

_SILENCE_LIMIT_S = 900.0
_MARGIN_S = 60.0
# What a judge says of its device, when it fails.
_KINDS = {None: HarnessError, "before": FoundSick, "now": DeviceError}

_Process = TypeVar("_Process", bound=TrustedProcess)


class JudgeProcess(TrustedProcess):
    """One judge, that of slot number `slot` of `slots`, and the channel to it."""

    def __init__(self, settings: Settings, slot: int, device: Device, slots: int) -> None:
        further = (str(slots),)
        super().__init__("daemon.executor.programs.judge", settings, slot, device, gpu=device.uuid, further=further)
        self._silence_s = silence_s(settings)

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        """Judge `job`. Raises `HarnessError`; for a sick device `DeviceError`, and `FoundSick` if it was sick
        before."""
        self.send({"type": "evaluate", "job_id": job.job_id, "bundle_dir": str(job.bundle_dir)})
        while True:
            message = self.receive(self._silence_s)
            if message["type"] == "progress":
                on_progress(Progress(job.job_id, str(message["text"]), message.get("case")))
            elif message["type"] == "evaluation":
                return Evaluation.model_validate(message["evaluation"])
            else:
                kind = _KINDS[message.get("sick")]
                raise kind(str(message.get("message", "the judge failed")), hint=message.get("hint"))


class Judges(Mapping[int, JudgeProcess]):
    """The judges, by slot. Whoever holds a slot starts and discards its judge; any thread may strike or close."""

    def __init__(self, settings: Settings, devices: tuple[Device, ...], discarded: Callable[[int], None]) -> None:
        """`discarded` is told the slot whose judge is going."""
        self._settings = settings
        self._devices = devices
        self._discarded = discarded
        self._there: dict[int, JudgeProcess] = {}
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge-starter")
        # Its thread starts now: work that waits for one which cannot start would be done later.
        self._starter.submit(int)
        self.is_closed = False

    def __getitem__(self, slot: int) -> JudgeProcess:
        return self._there[slot]

    def __iter__(self) -> Iterator[int]:
        with self._lock:
            return iter(list(self._there))

    def __len__(self) -> int:
        return len(self._there)

    def ready(self, slot: int) -> JudgeProcess:
        """The judge of `slot`, started if there is none that lives. Raises `HarnessError` and `OperatorError` where
        none can be started, `DeviceError` when a dead one cannot be cleared away, and `OSError` as `started`."""
        with self._lock:
            judge = self._there.get(slot)
        if judge is not None and judge.program.poll() is None:
            return judge
        return self.fresh(slot)

    def fresh(self, slot: int) -> JudgeProcess:
        """Another judge in the place of the one that `slot` has. Raises as `ready`."""
        if (sickness := self.discard(slot)) is not None:
            raise sickness
        slots = len(self._devices)
        judge = self.started(lambda: JudgeProcess(self._settings, slot, self._devices[slot], slots))
        with self._lock:
            self._there[slot] = judge
            is_closed = self.is_closed
        if is_closed:
            raise HarnessError("the engine is closed")
        judge.await_ready()
        return judge

    def started(self, make: Callable[[], _Process]) -> _Process:
        """A process started by the thread that outlives it. Raises `HarnessError`, and `OSError` where it is this
        process that has no thread or descriptor to spare: that is no fault of the device."""
        try:
            return self._starter.submit(make).result()
        except RuntimeError as error:  # the starter was shut down, or no thread can be started
            if self.is_closed:
                raise HarnessError("the engine is closed") from error
            raise OSError(errno.EAGAIN, f"nothing can be started: {error}") from error

    def strike(self, slot: int) -> None:
        """Send the judge of `slot`, if it has one, the signal that kills it. Whoever holds the slot discards it
        then."""
        with self._lock:  # it is not ended meanwhile
            if (judge := self._there.get(slot)) is not None:
                judge.strike()

    def discard(self, slot: int) -> DeviceError | None:
        """End the judge of `slot`, if it has one. Returns why the slot is not fit for another one, if this one does not
        end."""
        with self._lock:
            judge = self._there.pop(slot, None)
        self._discarded(slot)
        return None if judge is None else judge.end()

    def refuse(self) -> None:
        """Start nothing more from now on; `close` ends those that there are."""
        with self._lock:
            self.is_closed = True

    def close(self) -> None:
        """End them all. Idempotent."""
        self.refuse()
        with self._lock:
            judges = list(self._there.values())
        for judge in judges:
            judge.end()
        self._starter.shutdown(wait=True)


def silence_s(settings: Settings) -> float:
    """How long a judge may say nothing: it may compile twice, and make a header for that."""
    return max(_SILENCE_LIMIT_S, 2 * settings.deadlines.build_s + MAKE_LIMIT_S + _MARGIN_S)
