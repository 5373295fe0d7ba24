"""The engine on this host: one judge process per slot, one job per judge.

Theory of operation: judges are started by one thread that lives as long as the engine, for the parent-death signal
belongs to the thread that started a process. A judge that fails or is cancelled is killed and replaced at the next
job. Its cells die with it, save those that were frozen: they, their cgroups and folders are swept right after. The
judge has its own deadlines for everything a bundle does; the engine's hard limit only catches a judge that hangs
itself. Before a next job is leased, a judge that is due has its control timed (`controls`).

Beside the jobs that have a slot, a few more are taken on (`at_once`): what they need compiled is compiled meanwhile
(`workshop`), and then they wait for a slot in the order they came.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from daemon import log
from daemon.config import Settings
from daemon.contract import Requirements
from daemon.engine import DeviceState, JobSpec, Progress
from daemon.errors import DeviceError, EvaldError, FoundSick, HarnessError, LostClaim, NoDevice, OperatorError
from daemon.evaluation import Evaluation
from daemon.executor import catalog
from daemon.executor.artifacts.headers import MAKE_LIMIT_S
from daemon.executor.controls import Controls
from daemon.executor.host.devices import Device, choose, refusal
from daemon.executor.roster import Roster
from daemon.executor.trusted import TrustedProcess
from daemon.executor.workshop import Workshop

_SILENCE_LIMIT_S = 900.0
_MARGIN_S = 60.0
_AHEAD_PER_GPU = 2
# What a judge says of its device, when it fails.
_KINDS = {None: HarnessError, "before": FoundSick, "now": DeviceError}


_Process = TypeVar("_Process", bound=TrustedProcess)


class JudgeProcess(TrustedProcess):
    """One judge and the channel to it."""

    def __init__(self, settings: Settings, slot: int, device: Device) -> None:
        super().__init__("daemon.executor.programs.judge", settings, slot, device, gpu=device.uuid)
        self._silence_s = silence_s(settings)

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        """Judge `job`. Raises `HarnessError`, for a sick device `DeviceError`, `FoundSick` when it was so before."""
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


@dataclass
class _Hold:
    """What becomes of a taken slot: it is set aside for `sickness`, if there is one."""

    sickness: EvaldError | None = None


class LocalEngine:
    """`Engine` on this host: one judge per device."""

    def __init__(self, settings: Settings) -> None:
        """Raises `OperatorError` when the settings ask for devices that are not here, `HarnessError` when the driver
        does not say which are."""
        self._settings = settings
        self._roster = Roster(choose(settings))
        self._controls = Controls(settings, self._roster.devices)
        self._ahead = _ahead(settings, self._roster.devices)
        self._backends = catalog.load(settings.backend_paths)
        self._judges: dict[int, JudgeProcess] = {}
        self._running: dict[str, int | None] = {}  # the slot, once it has one
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="judge-starter")
        self._starter.submit(int)  # its thread starts now: what waits for one that cannot start would be done later
        self._workshop = Workshop(settings, self._ahead, self._started, slots=self.slots)
        self._closed = False

    @property
    def slots(self) -> int:
        return len(self._roster.devices)

    @property
    def at_once(self) -> int:
        return self.slots + self._ahead

    @property
    def silence_s(self) -> float:
        return silence_s(self._settings)

    def devices(self) -> tuple[DeviceState, ...]:
        return tuple(replace(state, drift=self._controls.drift(state.slot)) for state in self._roster.states())

    def refusal(self, requires: Requirements) -> str | None:
        return refusal(requires, self._roster.devices)

    def start(self) -> None:
        """Start a judge and wait until it is ready: fails early where this host cannot judge. Raises
        `OperatorError`."""
        self.ready()

    def ready(self) -> None:
        """A GPU whose judge cannot be started is set aside, to be tried again later, and the next one is asked. A
        control that is due is timed first."""
        self._roster.revive()
        while (slot := self._roster.take_idle(self._controls.is_due)) is not None:
            with self._held(slot) as hold:
                if self._fit_judge(slot, hold, lambda: self._closed, with_control=True) is not None:
                    return

    @contextmanager
    def _held(self, slot: int) -> Iterator[_Hold]:
        """A slot that has been taken: at the end it is given back, or set aside when its device is sick. What is raised
        meanwhile ends its judge, which is in the middle of something."""
        hold = _Hold()
        try:
            yield hold
        except BaseException as error:
            hold.sickness = self._discard(slot) or (error if isinstance(error, DeviceError) else hold.sickness)
            raise
        finally:
            if hold.sickness is None:
                self._roster.give_back(slot)
            else:
                self._set_aside(slot, hold.sickness)

    def _fit_judge(
        self, slot: int, hold: _Hold, is_stopped: Callable[[], bool], *, with_control: bool
    ) -> JudgeProcess | None:
        """The judge of a slot, `with_control` its control timed where that is due. None: it has none now, for a GPU's
        cannot be started or a control failed; `hold` says whether the device is sick. Raises `HarnessError` and
        `OperatorError` where a CPU's cannot be started, and when all of it was stopped meanwhile."""
        try:
            judge = self._judge(slot)
        except (HarnessError, OperatorError) as error:
            if is_stopped() or not self._roster.devices[slot].is_gpu:  # what fails on a CPU fails for all slots
                raise
            hold.sickness = self._discard(slot) or error
            return None
        if not (with_control and self._controls.is_due(slot)):
            return judge
        try:
            self._controls.run(slot, judge, lambda: self._fresh_judge(slot))
            return self._judge(slot)
        except (HarnessError, OperatorError) as error:
            if is_stopped():
                raise HarnessError(
                    "the engine is closed" if self._closed else "stopped in the middle of a control"
                ) from error
            hold.sickness = self._discard(slot) or self._controls.failed(slot, error)
            return None

    def _set_aside(self, slot: int, error: EvaldError) -> None:
        self._roster.set_aside(slot, error.message)
        device = self._roster.devices[slot]
        log.story("device set aside", level=40, device=device.name, uuid=device.uuid, reason=error)

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        with self._lock:
            self._running[job.job_id] = None
        try:
            self._build_ahead(job, on_progress)
            if self._stopped(job.job_id):
                raise LostClaim(f"job {job.job_id} is not to be judged any more")
            return self._evaluate(job, on_progress)
        finally:
            with self._lock:
                self._running.pop(job.job_id, None)
                self._cancelled.discard(job.job_id)

    def _build_ahead(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> None:
        """Compile what the job needs compiled, while other jobs have the devices. Where the device it will get decides
        for which architecture, the judge compiles."""
        suiting = [device for device in self._roster.devices if refusal(job.requires, (device,)) is None]
        if not self._ahead or not suiting or len({device.architecture for device in suiting}) > 1:
            return
        if any(suiting[0].kind in self._backends[kind].build for kind in job.kernel_types):
            self._workshop.build(job, suiting[0], on_progress)

    def _evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        """A job that a sick device was found for waits for another one."""
        came = time.monotonic()
        while True:
            slot = self._slot_for(job, on_progress)
            try:
                if (evaluation := self._evaluate_on(slot, job, on_progress, came)) is not None:
                    return evaluation
            except (HarnessError, OperatorError) as error:
                if self._stopped(job.job_id):
                    raise LostClaim(f"job {job.job_id} is not to be judged any more") from error
                if not isinstance(error, FoundSick):
                    raise HarnessError(error.message, hint=error.hint) from error

    def _evaluate_on(
        self, slot: int, job: JobSpec, on_progress: Callable[[Progress], None], came_s: float
    ) -> Evaluation | None:
        """None: the slot has no judge now. `came_s` (monotonic): since when the job has waited for one."""
        with self._held(slot) as hold, self._on(slot, job.job_id):
            # Where jobs stand in line none of the slots is ever idle, when `ready` would time the control.
            stands_in_line = bool(self._ahead)
            judge = self._fit_judge(slot, hold, lambda: self._stopped(job.job_id), with_control=stands_in_line)
            if judge is None:
                return None
            if self._stopped(job.job_id):
                raise HarnessError("stopped before it had begun")
            start = time.monotonic()
            evaluation = judge.evaluate(job, on_progress)
            self._controls.judged(slot)
            spent = {"waited_ms": (start - came_s) * 1e3, "evaluate_ms": (time.monotonic() - start) * 1e3}
            return self._completed(evaluation, slot, spent)

    @contextmanager
    def _on(self, slot: int, job_id: str) -> Iterator[None]:
        """The job is on this slot, so that whoever cancels it strikes its judge. Raises `HarnessError` when that has
        been done: the judge is not fit for another job, even if it had got to the end of this one."""
        with self._lock:
            self._running[job_id] = slot
        try:
            yield
        finally:
            with self._lock:
                self._running[job_id] = None
                is_struck = job_id in self._cancelled
        if is_struck:
            raise HarnessError("cancelled when it had just ended")

    def _slot_for(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> int:
        """A slot that suits, in the order in which jobs have come to want one. Raises `HarnessError`, and `LostClaim`
        when the job is cancelled while it waits."""

        def waiting() -> None:
            if self._stopped(job.job_id):
                raise LostClaim(f"job {job.job_id} is not to be judged any more")
            on_progress(Progress(job.job_id, "waiting for a device"))

        try:
            return self._roster.take(lambda device: refusal(job.requires, (device,)) is None, waiting)
        except HarnessError as error:
            raise NoDevice(error.message, hint=error.hint) from error

    def _completed(self, evaluation: Evaluation, slot: int, spent: dict[str, float]) -> Evaluation:
        """With what only the engine knows. What was never run has no environment to add a control to."""
        control = self._controls.last_of(slot) if evaluation.cases else None
        environment = evaluation.environment.model_copy(update={"control": control})
        return evaluation.model_copy(update={**spent, "environment": environment})

    def _stopped(self, job_id: str) -> bool:
        with self._lock:
            return self._closed or job_id in self._cancelled

    def _judge(self, slot: int) -> JudgeProcess:
        with self._lock:
            judge = self._judges.get(slot)
        if judge is not None and judge.program.poll() is None:
            return judge
        self._make_room(slot)
        judge = self._started(lambda: JudgeProcess(self._settings, slot, self._roster.devices[slot]))
        with self._lock:
            self._judges[slot] = judge
            closed = self._closed
        if closed:
            raise HarnessError("the engine is closed")
        judge.await_ready()
        return judge

    def _started(self, make: Callable[[], _Process]) -> _Process:
        """A process started by the thread that outlives it. Raises `HarnessError`, and `OSError` where it is this
        process that has no thread or descriptor to spare: that is no fault of the device."""
        try:
            return self._starter.submit(make).result()
        except RuntimeError as error:  # the starter was shut down, or no thread can be started
            if self._closed:
                raise HarnessError("the engine is closed") from error
            raise OSError(errno.EAGAIN, f"nothing can be started: {error}") from error

    def _fresh_judge(self, slot: int) -> JudgeProcess:
        self._make_room(slot)
        return self._judge(slot)

    def _make_room(self, slot: int) -> None:
        """For another judge. Raises `DeviceError` when the one there does not end."""
        if (sickness := self._discard(slot)) is not None:
            raise sickness

    def _discard(self, slot: int) -> DeviceError | None:
        """End the judge of `slot`, if it has one: why the slot is not fit for another one when that does not end."""
        with self._lock:
            judge = self._judges.pop(slot, None)
        self._controls.discarded(slot)
        return None if judge is None else judge.end()

    def cancel(self, job_id: str) -> None:
        with self._lock:
            if job_id not in self._running:
                return
            self._cancelled.add(job_id)
            slot = self._running[job_id]
            if slot is not None and (judge := self._judges.get(slot)) is not None:
                judge.strike()  # while nobody can give the slot to another job; `_held` ends it
        self._workshop.give_up(job_id)
        self._roster.wake()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            judges = list(self._judges.values())
        self._workshop.close()
        self._roster.wake()
        for judge in judges:
            judge.end()
        self._starter.shutdown(wait=True)


def silence_s(settings: Settings) -> float:
    """How long a judge may say nothing: it may compile twice, and a header for that."""
    return max(_SILENCE_LIMIT_S, 2 * settings.deadlines.build_s + MAKE_LIMIT_S + _MARGIN_S)


def _ahead(settings: Settings, devices: tuple[Device, ...]) -> int:
    """How many jobs are prepared while others have the devices. On the CPU a compiler would take its time from the
    kernels that are being timed there."""
    if settings.ahead is not None:
        return settings.ahead
    gpus = sum(device.is_gpu for device in devices)
    return min(_AHEAD_PER_GPU * gpus, len(os.sched_getaffinity(0)) // 2)
