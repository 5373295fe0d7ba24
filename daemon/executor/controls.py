"""When the control of each slot is measured, and what follows from it: a judge is replaced, a baseline moves. No torch.

Theory of operation: the engine asks between evaluations, in the thread that holds the slot, when no result is in the
judge's hands any more. A judge that has judged nothing yet is left alone: the first job of a daemon waits for nobody. A
control that differs from the baseline is measured again at once, in a cell of its own like every control. If it still
differs, a fresh judge decides whether the judge had drifted or the device has changed. Each slot has its own clock,
which starts from the device's last control in the state folder.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from daemon import log
from daemon.config import Settings
from daemon.engine import JobSpec, Progress
from daemon.errors import DeviceError, EvaldError
from daemon.evaluation import Control, Evaluation
from daemon.executor import baseline as baselines
from daemon.executor.baseline import Baseline, Drift, Identity
from daemon.executor.control import Decision, Figures, bundle, decide, fingerprint, tolerance_on
from daemon.executor.host.devices import Device

_RETRY_S = 60.0
_FAILURES_IN_A_ROW = 3


class Evaluator(Protocol):
    """A judge, as far as a control needs one."""

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation: ...


@dataclass(frozen=True)
class _Measured:
    figures: Figures
    identity: Identity


@dataclass(frozen=True)
class _Taken:
    """The last control of the judge that a slot has, at `at_s` (monotonic)."""

    figures: Figures
    ratio: float
    at_s: float


class Controls:
    """The controls of one engine, by slot. Whoever holds a slot may call for it; `drift` may be asked by anybody."""

    def __init__(self, settings: Settings, devices: tuple[Device, ...]) -> None:
        self._settings = settings
        self._devices = devices
        self._interval_s = settings.control_interval_s
        self._warm: set[int] = set()
        self._taken: dict[int, _Taken] = {}
        self._failures: dict[int, int] = {}
        self._drifts: dict[Device, Drift | None] = {}
        self._due_s: dict[int, float] = {}
        self._lock = threading.Lock()
        for slot, device in enumerate(devices if self._interval_s else ()):
            known = baselines.read(baselines.path_of(device, settings.paths))
            self._drifts[device] = known.drift if known else None
            self._due_s[slot] = time.monotonic() + self._left_s(known)

    def _left_s(self, known: Baseline | None) -> float:
        """How long the last control of an earlier daemon still counts; one from the future does not."""
        age_s = (baselines.now() - known.last_at).total_seconds() if known else self._interval_s
        return self._interval_s - age_s if 0 <= age_s < self._interval_s else 0.0

    def judged(self, slot: int) -> None:
        """The judge of `slot` has judged a job: it is warm now."""
        self._warm.add(slot)

    def discarded(self, slot: int) -> None:
        """The judge of `slot` is gone, and what is known of it with it."""
        self._warm.discard(slot)
        self._taken.pop(slot, None)

    def is_due(self, slot: int) -> bool:
        """Whether the judge of `slot` is warm and the slot's last control too old."""
        return self._interval_s > 0 and slot in self._warm and time.monotonic() >= self._due_s[slot]

    def last_of(self, slot: int) -> Control | None:
        """For results: the last control of the judge that `slot` has; None while it had none."""
        taken = self._taken.get(slot)
        if taken is None:
            return None
        return Control(
            median_ms=taken.figures.median_ms,
            interval_ms=taken.figures.interval_ms,
            ratio=taken.ratio,
            age_s=time.monotonic() - taken.at_s,
        )

    def drift(self, slot: int) -> str | None:
        """How the device of `slot` changed, in words for people; None when it did not."""
        with self._lock:
            drift = self._drifts.get(self._devices[slot])
        return None if drift is None else str(drift)

    def run(self, slot: int, judge: Evaluator, replace: Callable[[], Evaluator]) -> None:
        """Measure the control of `judge`. `replace` ends that judge and puts a fresh one in its place.

        Raises `HarnessError` when it cannot be measured, `OperatorError` when no fresh judge starts.
        """
        self._due_s[slot] = time.monotonic() + min(self._interval_s, _RETRY_S)
        device = self._devices[slot]
        tolerance = tolerance_on(device, self._settings)
        latest = self._measure(device, judge)
        known = self._known(device, latest)
        warm = [latest.figures]
        decision = decide(_figures(known), warm, tolerance=tolerance)
        if decision is Decision.AGAIN:
            latest = self._measure(device, judge)
            warm.append(latest.figures)
            decision = decide(_figures(known), warm, tolerance=tolerance)
        if decision is Decision.REPLACE:
            _tell("replacing a judge whose control differs", device, latest.figures, known, level=30)
            judge = replace()
            latest = self._measure(device, judge)
            known = self._known(device, latest)
            decision = decide(_figures(known), warm, latest.figures, tolerance=tolerance)
        self._conclude(device, decision, known, warm[-1], latest)
        compared = known.figures if known and decision is not Decision.DEVICE_CHANGED else latest.figures
        self._taken[slot] = _Taken(latest.figures, latest.figures.ratio_to(compared), time.monotonic())
        self._due_s[slot] = time.monotonic() + self._interval_s
        self._failures[slot] = 0

    def failed(self, slot: int, error: EvaldError) -> DeviceError | None:
        """A control could not be measured, which fails no job. Returns what is wrong with the device, if the device was
        to blame or this is the third failure in a row."""
        if isinstance(error, DeviceError):
            return error
        failures = self._failures.get(slot, 0) + 1
        device = self._devices[slot]
        log.story("the control failed", level=30, device=device.name, uuid=device.uuid, reason=error.message)
        self._failures[slot] = failures % _FAILURES_IN_A_ROW
        if failures < _FAILURES_IN_A_ROW:
            return None
        message = f"its control kernel failed {failures} times in a row: {error.message}"
        return DeviceError(message, hint="evald doctor; control_interval_s = 0 does without controls")

    def _measure(self, device: Device, judge: Evaluator) -> _Measured:
        with bundle(device.kind) as folder:
            evaluation = judge.evaluate(JobSpec("control", "control", folder), lambda _: None)
        workload = fingerprint(device.kind, self._settings)
        return _Measured(Figures.of(evaluation), Identity.of(evaluation.environment, workload))

    def _known(self, device: Device, measured: _Measured) -> Baseline | None:
        return baselines.read_for(baselines.path_of(device, self._settings.paths), measured.identity)

    def _conclude(
        self, device: Device, decision: Decision, known: Baseline | None, warm: Figures, latest: _Measured
    ) -> None:
        """Say it, and write down the baseline that counts from now on."""
        now = baselines.now()
        if decision is Decision.DEVICE_CHANGED and known is not None:
            _tell("the device changed: a fresh judge measures the same", device, latest.figures, known, level=30)
            drift = Drift(at=now, ratio=latest.figures.ratio_to(known.figures))
            settled = Baseline(identity=latest.identity, figures=latest.figures, at=now, last_at=now, drift=drift)
        elif known is None:
            _tell("the control has a baseline", device, latest.figures, known)
            settled = Baseline(identity=latest.identity, figures=latest.figures, at=now, last_at=now)
        else:
            if decision is Decision.JUDGE_DRIFTED:
                _tell("the judge had drifted: a fresh one agrees with the baseline", device, warm, known, level=30)
            else:
                _tell("the control agrees", device, latest.figures, known)
            settled = known.model_copy(update={"last_at": now})
        with self._lock:
            self._drifts[device] = settled.drift
        baselines.write(baselines.path_of(device, self._settings.paths), settled)


def _figures(known: Baseline | None) -> Figures | None:
    return known.figures if known else None


def _tell(what: str, device: Device, figures: Figures, known: Baseline | None, *, level: int = 20) -> None:
    ratio = f"{figures.ratio_to(known.figures):.3f}" if known else None
    took = f"{figures.median_ms:.4g}"
    log.story(what, level=level, device=device.name, uuid=device.uuid, median_ms=took, of_baseline=ratio)
