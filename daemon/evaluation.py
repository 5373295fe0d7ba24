"""What an engine answers about one job: pure data, the same from a local and a distributed engine.

Times are milliseconds (`_ms`) or microseconds (`_us`); an absent figure is None, never 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from daemon.verdict import Comparison, Phase, Side, Verdict


class Frozen(BaseModel):
    """Values that do not change, all of them known, and finite numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RuntimeStats(Frozen):
    """Statistics of the outside samples of one kernel, milliseconds per call. `std` is the sample deviation."""

    mean: float
    std: float
    min: float
    max: float
    median: float
    percentile_95: float
    percentile_99: float


class Timing(Frozen):
    """How one kernel was timed by the judge's clock, and what came out.

    `samples_ms` holds one (T(n) - c0)/n figure per round, in the order taken; `calls` the n of each round, `walls_ms`
    its T(n), whole; `nulls` (calls, milliseconds) of the null candidate's rounds, as their line was drawn. `c0_us` is
    the null candidate's time for a round of one call and `c0_slope_us` what it adds per call. `rse` is the relative
    standard error reached; `stop` names the rule that ended the measurement: "precision" or "time". `interval_ms` is
    [minimum, third quartile], of few rounds [minimum, maximum]: what two kernels are compared by. `sm_mhz`: the SM
    clock right after each round, empty where it is not known; `clocks`: medians over the rounds. `dropped_rounds`:
    taken while the hardware held its clocks down to protect itself, and not in the figures.
    """

    stats: RuntimeStats
    interval_ms: tuple[float, float]
    mode: str
    samples_ms: tuple[float, ...]
    calls: tuple[int, ...]
    walls_ms: tuple[float, ...] = ()
    nulls: tuple[tuple[int, float], ...] = ()
    c0_us: float
    c0_slope_us: float
    rse: float | None
    target_rse: float
    stop: str
    isolated_ms: float | None = None
    back_to_back_ms: float | None = None  # of a kernel labelled `batched`, whose figure is that of single calls
    launched_ms: float | None = None  # launched call by call, where the figure is from graphs
    line_fit_residual: float | None = None
    inside_ms: float | None = None  # taken inside the cell by its own clock: unverified, never ranked on
    copy_ms: float | None = None  # what copying a returned answer costs; the labels say whether it is in the figure
    footprint_bytes: int = 0
    dropped_rounds: int = 0
    clocks: dict[str, float] = {}
    sm_mhz: tuple[float, ...] = ()
    gb_per_s: float | None = None  # the work of a call over `stats.mean`
    tflop_per_s: float | None = None
    speed_of_light_pct: float | None = None  # the least time that work needs on this device, over `stats.mean`
    limiting_side: str | None = None  # what needs that long: "memory", or a kind of operations
    work_source: str | None = None  # where that work is known from: "counted" by ncu, or "declared" in the contract
    labels: tuple[str, ...] = ()


class Numerics(Frozen):
    """How exact the candidate is. `differing_elements` and `max_abs_spread`: between two of its runs on the same
    inputs. Errors are against the reference run in float64, the `ref_` ones those of the reference as it is: largest
    absolute error, and the root mean square of the error over that of the exact answer. None, and a `note`, where that
    could not be had. Of several outputs the root mean squares are those of the least exact one, as is `rounding`, the
    spacing of its floats at 1.
    """

    differing_elements: int
    max_abs_spread: float
    rounding: float
    max_abs_error: float | None = None
    rms_error: float | None = None
    ref_max_abs_error: float | None = None
    ref_rms_error: float | None = None
    note: str | None = None


class Failure(Frozen):
    """Why a case did not pass: whose kernel, in which phase, and the evidence."""

    phase: Phase
    side: Side
    message: str
    traceback: str | None = None  # the user's own frames only
    exit_code: int | None = None
    signal: str | None = None


class Finding(Frozen):
    """One thing that compute-sanitizer found. What it does not say is None. `source`: file and line, where the kernel
    was compiled with line information. `is_warning`: it may be meant so, and fails nobody."""

    check: str
    message: str
    is_warning: bool = False
    kernel: str | None = None
    source: str | None = None
    thread: str | None = None
    block: str | None = None
    address: str | None = None


class CheckReport(Frozen):
    """One check that a contract asked for. `completed`: the sanitizer came to its end; `errors`: how many it counted,
    of which `findings` has the first. `note`: why it was not run, or did not end."""

    check: str
    completed: bool
    errors: int = 0
    findings: tuple[Finding, ...] = ()
    note: str | None = None


class CaseEvaluation(Frozen):
    """One case (one binding of the contract's symbols) judged."""

    name: str
    bind: dict[str, int] = {}
    verdict: Verdict
    phase: Phase
    failure: Failure | None = None
    compiled: bool = False
    correctness: bool | None = None  # None: nothing was compared
    trials_passed: int = 0
    trials_total: int = 0
    max_abs_error: float | None = None
    max_rel_error: float | None = None
    worst_output: str | None = None
    worst_index: tuple[int, ...] | None = None
    numerics: Numerics | None = None
    timing: Timing | None = None
    ref_timing: Timing | None = None
    speedup: float | None = None
    comparison: Comparison | None = None
    compile_ms: float | None = None
    stages_ms: dict[str, float] = {}  # where its time went, in the order of the stages
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    stdout_tail: str = ""
    stderr_tail: str = ""
    build: dict[str, Any] = {}  # what the compiler said: registers, spills, backend, cache hit
    checks: tuple[CheckReport, ...] = ()  # of compute-sanitizer, as far as the contract asked for them
    # Hardware counters by side (`original_device_metrics`, `custom_device_metrics`), or `unsupported`: why there are
    # none. Counted in the process of the code under test: unverified, never judged.
    device_metrics: dict[str, Any] = {}
    tool_reports: dict[str, str] = {}  # what the tools wrote, by file name


class Control(Frozen):
    """The last control of the judge: a kernel of evald's own, timed as any other. `interval_ms`: [minimum, third
    quartile]; `ratio`: its median over the baseline's, of this device; `age_s`: how long before the end of the
    evaluation it was taken."""

    median_ms: float
    interval_ms: tuple[float, float]
    ratio: float
    age_s: float


class Environment(Frozen):
    """Where the evaluation ran. Unknown is None."""

    device: str = "cpu"
    device_name: str | None = None
    device_index: int | None = None  # as NVML counts
    device_uuid: str | None = None
    driver: str | None = None
    cuda: str | None = None
    torch: str | None = None
    triton: str | None = None
    python: str | None = None
    cpu: str | None = None
    cpu_count: int | None = None
    clocks: dict[str, float] = {}
    isolation: str = "not run"
    isolation_weaker: tuple[str, ...] = ()  # what this host could not enforce, in words
    evald: str = ""
    control: Control | None = None


class Evaluation(Frozen):
    """The whole answer about one job."""

    verdict: Verdict
    phase: Phase
    message: str | None = None
    cases: tuple[CaseEvaluation, ...] = ()
    compile_ms: float | None = None
    evaluate_ms: float | None = None
    waited_ms: float | None = None  # for a device, before that
    environment: Environment = Environment()
    notes: tuple[str, ...] = ()

    @classmethod
    def rejected(cls, message: str) -> Evaluation:
        """Of a bundle that never ran."""
        return cls(verdict=Verdict.REJECTED, phase=Phase.INTAKE, message=message)

    @classmethod
    def broken(cls, message: str) -> Evaluation:
        """Of a job that evald itself could not judge, after every attempt."""
        return cls(verdict=Verdict.HARNESS_ERROR, phase=Phase.REPORT, message=message)

    @property
    def runtime_ms(self) -> float | None:
        """The sum of the cases' means; None unless every case was timed. One case alone would be a target to tune
        for."""
        return _sum_of_means([case.timing for case in self.cases])

    @property
    def ref_runtime_ms(self) -> float | None:
        """The same of the reference."""
        return _sum_of_means([case.ref_timing for case in self.cases])

    @property
    def speedup(self) -> float | None:
        """The geometric mean over all cases; None unless every case has one."""
        found = [case.speedup for case in self.cases if case.speedup]
        if not found or len(found) < len(self.cases):
            return None
        return found[0] if len(found) == 1 else math.exp(math.fsum(map(math.log, found)) / len(found))

    @property
    def comparison(self) -> Comparison | None:
        """What all cases say; None where they do not agree, or nothing was compared."""
        found = {case.comparison for case in self.cases}
        return found.pop() if len(found) == 1 else None


def _sum_of_means(timings: Sequence[Timing | None]) -> float | None:
    means = [timing.stats.mean for timing in timings if timing is not None]
    return math.fsum(means) if means and len(means) == len(timings) else None
