"""The engine on this host: one judge process per slot, one job per judge.

Theory of operation: a job holds the slot it is judged on, and nothing else is done with that slot's judge meanwhile. A
judge that fails, or whose job is cancelled, is discarded, and the next job gets a fresh one (`judges`). Before the next
job is leased, a judge that is due has its control timed (`controls`).

Beside the jobs that have a slot, a few more are taken on (`at_once`). What they need compiled is compiled meanwhile
(`workshop`), and then they wait for a slot in the order they came.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from daemon import log
from daemon.config import Settings
from daemon.contract import Requirements
from daemon.engine import DeviceState, JobSpec, Progress, given_up
from daemon.errors import DeviceError, EvaldError, FoundSick, HarnessError, NoDevice, OperatorError
from daemon.evaluation import Evaluation
from daemon.executor import catalog
from daemon.executor.controls import Controls
from daemon.executor.host import limits
from daemon.executor.host.devices import Device, choose, refusal
from daemon.executor.judges import JudgeProcess, Judges, silence_s
from daemon.executor.roster import Roster
from daemon.executor.workshop import Workshop

_AHEAD_PER_GPU = 2


@dataclass
class _Hold:
    """What becomes of a taken slot: it is set aside for `sickness`, if there is one."""

    sickness: EvaldError | None = None


class LocalEngine:
    """`Engine` on this host: one judge per device."""

    def __init__(self, settings: Settings) -> None:
        """Raises `OperatorError` when the settings ask for devices that are not here, or the shell gives too little
        memory, `HarnessError` when the driver does not say which devices there are."""
        limits.require_memory()
        self._settings = settings
        self._roster = Roster(choose(settings))
        self._controls = Controls(settings, self._roster.devices)
        self._ahead = _ahead(settings, self._roster.devices)
        self._backends = catalog.load(settings.backend_paths)
        self._judges = Judges(settings, self._roster.devices, self._controls.discarded)
        self._running: dict[str, int | None] = {}  # the slot, once it has one
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._workshop = Workshop(settings, self._ahead, self._judges.started, slots=self.slots)

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
        """As `Engine.ready`. A GPU whose judge cannot be started is set aside, to be tried again later, and the next
        one is asked. A control that is due is timed first."""
        self._roster.revive()
        while (slot := self._roster.take_idle(self._controls.is_due)) is not None:
            with self._held(slot) as hold:
                if self._fit_judge(slot, hold, lambda: self._judges.is_closed, with_control=True) is not None:
                    return

    @contextmanager
    def _held(self, slot: int) -> Iterator[_Hold]:
        """A slot that has been taken. At the end of the block it is given back, or set aside when its device is sick.
        If something is raised, its judge is ended, because it is in the middle of something."""
        hold = _Hold()
        try:
            yield hold
        except BaseException as error:
            hold.sickness = self._judges.discard(slot) or (error if isinstance(error, DeviceError) else hold.sickness)
            raise
        finally:
            if hold.sickness is None:
                self._roster.give_back(slot)
            else:
                self._set_aside(slot, hold.sickness)

    def _fit_judge(
        self, slot: int, hold: _Hold, is_stopped: Callable[[], bool], *, with_control: bool
    ) -> JudgeProcess | None:
        """The judge of a slot; `with_control`, its control timed where that is due. None: it has none now, because a
        GPU's cannot be started or a control failed; `hold` says whether the device is sick.

        Raises `HarnessError` and `OperatorError` where a CPU's cannot be started, and when all of it was stopped
        meanwhile.
        """
        try:
            judge = self._judges.ready(slot)
        except (HarnessError, OperatorError) as error:
            if is_stopped() or not self._roster.devices[slot].is_gpu:  # what fails on a CPU fails for all slots
                raise
            hold.sickness = self._judges.discard(slot) or error
            return None
        if not (with_control and self._controls.is_due(slot)):
            return judge
        try:
            self._controls.run(slot, judge, lambda: self._judges.fresh(slot))
            return self._judges.ready(slot)
        except (HarnessError, OperatorError) as error:
            if is_stopped():
                raise HarnessError(
                    "the engine is closed" if self._judges.is_closed else "stopped in the middle of a control"
                ) from error
            hold.sickness = self._judges.discard(slot) or self._controls.failed(slot, error)
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
                raise given_up(job.job_id)
            return self._evaluate(job, on_progress)
        finally:
            with self._lock:
                self._running.pop(job.job_id, None)
                self._cancelled.discard(job.job_id)

    def _build_ahead(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> None:
        """Compile what the job needs compiled, while other jobs have the devices. If the architecture depends on which
        device it will get, the judge compiles."""
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
                    raise given_up(job.job_id) from error
                if not isinstance(error, FoundSick):
                    raise HarnessError(error.message, hint=error.hint) from error

    def _evaluate_on(
        self, slot: int, job: JobSpec, on_progress: Callable[[Progress], None], came_s: float
    ) -> Evaluation | None:
        """Judge the job on this slot. None: the slot has no judge now. `came_s` (monotonic): since when the job has
        waited for one."""
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
        """During the block the job is on this slot, so that whoever cancels it strikes its judge. Raises `HarnessError`
        when that was done: the judge is not fit for another job, even if it had got to the end of this one."""
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
                raise given_up(job.job_id)
            on_progress(Progress(job.job_id, "waiting for a device"))

        try:
            return self._roster.take(lambda device: refusal(job.requires, (device,)) is None, waiting)
        except HarnessError as error:
            raise NoDevice(error.message, hint=error.hint) from error

    def _completed(self, evaluation: Evaluation, slot: int, spent: dict[str, float]) -> Evaluation:
        """The evaluation with what only the engine knows. What was never run has no environment to add a control to."""
        control = self._controls.last_of(slot) if evaluation.cases else None
        environment = evaluation.environment.model_copy(update={"control": control})
        return evaluation.model_copy(update={**spent, "environment": environment})

    def _stopped(self, job_id: str) -> bool:
        with self._lock:
            return self._judges.is_closed or job_id in self._cancelled

    def cancel(self, job_id: str) -> None:
        with self._lock:
            if job_id not in self._running:
                return
            self._cancelled.add(job_id)
            if (slot := self._running[job_id]) is not None:
                self._judges.strike(slot)  # while nobody can give the slot to another job; `_held` ends it
        self._workshop.give_up(job_id)
        self._roster.wake()

    def close(self) -> None:
        self._judges.refuse()
        self._workshop.close()
        self._roster.wake()
        self._judges.close()


def _ahead(settings: Settings, devices: tuple[Device, ...]) -> int:
    """How many jobs are prepared while others have the devices. None on the CPU, where a compiler would take time from
    the kernels that are being timed."""
    if settings.ahead is not None:
        return settings.ahead
    gpus = sum(device.is_gpu for device in devices)
    return min(_AHEAD_PER_GPU * gpus, len(os.sched_getaffinity(0)) // 2)
