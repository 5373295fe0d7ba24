"""The control: a kernel of evald's own, its figures, and what they say about a judge. No judge and no file here.

A control is an ordinary evaluation, in an ordinary cell, and its source never changes. So whatever makes a judge
measure something else than a fresh one would (clocks, fragmented memory, a leaked context, a neighbour) shows in it.
Two controls differ when their intervals [minimum, third quartile] are apart by more than the tolerance, so what rounds
scatter by is not taken for drift.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from daemon.config import Settings
from daemon.errors import HarnessError
from daemon.evaluation import Evaluation, Frozen
from daemon.executor.host import scratch
from daemon.executor.host.devices import Device
from daemon.verdict import Verdict

# On a GPU 64 MiB in and 64 MiB out: one call alone is beyond every L2. On a CPU a few hundred calls fit the arena.
# lgamma takes arithmetic as well as memory: on one core of a CPU about 0.4 ms, so that a round dwarfs what it costs.
_ELEMENTS = {"cuda": 1 << 24, "cpu": 1 << 16}
_SOURCE = "import torch\n\n\ndef control(x, y):\n    torch.lgamma(x, out=y)\n"
_TIMEOUT_S = 60
# Nothing reserves the cores of a CPU: a neighbour takes its share for minutes, which is neither drift nor news.
_HOST_TOLERANCE = 0.25

Milliseconds = Annotated[float, Field(gt=0)]


class Figures(Frozen):
    """What one control measured, milliseconds per call. `interval_ms`: [minimum, third quartile]; `rse`: relative
    standard error of the mean."""

    median_ms: Milliseconds
    interval_ms: tuple[Milliseconds, Milliseconds]
    rse: float | None = None
    rounds: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> Figures:
        """Raises `HarnessError` when the control was not timed, or drowns in noise: no fault of any bundle."""
        timing = evaluation.cases[0].timing if evaluation.cases else None
        if evaluation.verdict is not Verdict.PASSED or timing is None:
            raise HarnessError(f"the control kernel ended as {evaluation.verdict}: {evaluation.message}")
        if "below_resolution" in timing.labels:
            raise HarnessError("the control kernel cannot be told from none: rounds scatter by more than it takes")
        return cls(
            median_ms=timing.stats.median,
            interval_ms=timing.interval_ms,
            rse=timing.rse,
            rounds=len(timing.samples_ms),
        )

    def ratio_to(self, other: Figures) -> float:
        """How many times as long as `other`."""
        return self.median_ms / other.median_ms

    def differs_from(self, other: Figures, tolerance: float) -> bool:
        """Whether the intervals are apart by more than `tolerance`, relative to the shorter time."""
        (low_ms, high_ms), (other_low_ms, other_high_ms) = self.interval_ms, other.interval_ms
        return low_ms > other_high_ms * (1 + tolerance) or other_low_ms > high_ms * (1 + tolerance)


class Decision(StrEnum):
    """What follows from a control."""

    FIRST = "first"  # nothing to compare it with: it becomes the baseline
    AGREES = "agrees"
    AGAIN = "again"  # measure once more at once: it may have been a hiccup
    REPLACE = "replace"  # the judge; then measure in a fresh one
    JUDGE_DRIFTED = "judge drifted"  # the fresh one agrees with the baseline
    DEVICE_CHANGED = "device changed"  # the fresh judge differs too: its figures become the baseline


def decide(
    baseline: Figures | None, warm: Sequence[Figures], fresh: Figures | None = None, *, tolerance: float
) -> Decision:
    """`warm`: one or two controls of the judge in question, in order; `fresh`: that of the judge in its place."""
    if baseline is None:
        return Decision.FIRST
    if fresh is not None:
        return Decision.DEVICE_CHANGED if fresh.differs_from(baseline, tolerance) else Decision.JUDGE_DRIFTED
    if not warm[-1].differs_from(baseline, tolerance):
        return Decision.AGREES
    return Decision.AGAIN if len(warm) == 1 else Decision.REPLACE


def tolerance_on(device: Device, settings: Settings) -> float:
    """What the settings say; on a CPU at least a quarter."""
    return settings.control_tolerance if device.is_gpu else max(settings.control_tolerance, _HOST_TOLERANCE)


def contract(kind: str) -> dict[str, Any]:
    """The control as a contract, for a device of this kind."""
    spec = {"shape": [_ELEMENTS[kind]], "dtype": "float32"}
    args = [
        {"name": "x", "type": "tensor", "role": "input", "tensor_spec": {**spec, "init": {"kind": "randn"}}},
        {"name": "y", "type": "tensor", "role": "output", "tensor_spec": spec},
    ]
    kernel = {"kernel_type": "torch", "source_code": _SOURCE, "metadata": {"function_name": "control"}}
    return {
        "name": "control",
        "kernel": {**kernel, "io": {"args": args}},
        "correctness_trials": 1,
        "timeout": _TIMEOUT_S,
    }


def fingerprint(kind: str, settings: Settings) -> str:
    """Of the workload and of the settings that its figures depend on (SHA-256, the first 16 digits)."""
    measured_under = {
        "contract": contract(kind),
        "timing": settings.timing.model_dump(mode="json"),
        "cpu_cores": settings.sandbox.cpu_cores,
        "isolation": settings.isolation,
    }
    return hashlib.sha256(json.dumps(measured_under, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def bundle(kind: str) -> Iterator[Path]:
    """A folder with the control as a bundle, gone afterwards. Raises `HarnessError` when it cannot be written."""
    try:
        with scratch.bundle("control", contract(kind)) as folder:
            yield folder
    except OSError as error:
        raise HarnessError(f"cannot write the control's bundle: {error}") from error
