"""One case of one job, from sources to a `CaseEvaluation`: prepare, hook up, check, measure. After all of that,
NVIDIA's tools, if they are asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from daemon.contract import CaseSpec, CompareRequest, Role, readings
from daemon.evaluation import CaseEvaluation, CheckReport, Failure, Numerics, Timing
from daemon.executor.artifacts.bundle import Request
from daemon.executor.cases.assessment import assess
from daemon.executor.cases.bench import Bench
from daemon.executor.cases.blame import own_stderr, verdict_on
from daemon.executor.cases.findings import Errors, Inspector
from daemon.executor.cases.fullness import blamed, consequence, device_full, host_full, short_of_memory
from daemon.executor.cases.hookup import Hookup
from daemon.executor.cases.inspection import Inspection, roofline_of
from daemon.executor.cases.kept_calls import CallPicker, TimedCall
from daemon.executor.cases.preparation import Preparation
from daemon.executor.cases.tolerances import tolerances_of
from daemon.executor.cases.tool_runner import CallSample
from daemon.executor.cases.trials import Trials
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.patience import own_deadline
from daemon.executor.content.drawing import Drawer
from daemon.executor.content.inputs import Secret
from daemon.executor.content.memory import DeviceFull
from daemon.executor.content.wiring import CannotWire
from daemon.executor.timing import strangers
from daemon.executor.timing.comparison import compare_speed, speedup
from daemon.executor.timing.measure import Measurement
from daemon.executor.timing.side import SidePlace
from daemon.executor.timing.stages import Stages
from daemon.executor.tools import sanitizer
from daemon.executor.tools.rates import Rater, declared
from daemon.verdict import Phase, Side, Verdict

_REPORTED_BUILD_KEYS = 40
_SAMPLE_LIMIT_S = 60.0
_QUICK_S = 1.0  # of a call
_DRAWN = " (the reference's call draws random numbers: the candidate has to draw the same ones, in the same order)"
_NOT_ZEROS = (
    ' (an output begins as random bytes, not as zeros: what the kernel adds to has the role inout and "init": '
    '{"kind": "zeros"})'
)


class CaseJudge:
    """Judges one case. `request` has its symbols resolved. Use once.

    `died_captured`: how a kernel's process ended while it was captured as a CUDA graph, if the case has failed by that.
    """

    def __init__(
        self, bench: Bench, request: Request, case: CaseSpec, bundle_dir: Path, progress: Callable[[str], None]
    ) -> None:
        self._bench = bench
        self._request = request
        self._case = case
        self._progress = progress
        self._secret = Secret(bench.device.kind)
        self._stages = Stages()
        self._ready = Preparation(bench, request, bundle_dir, self._secret, self._stages)
        self._places: dict[Side, SidePlace] = {}
        self._errors = Errors()
        self._deadline = 0.0
        self._ends_later = False  # the judge ends its cells when this case has been answered
        self._labels: list[str] = []
        self._trials: Trials | None = None
        self._build: dict[str, Any] = {}
        self._measurement: Measurement | None = None
        self._timings: list[Timing] = []
        self.died_captured: str | None = None
        self._numerics: Numerics | None = None
        self._timed_call: TimedCall | None = None
        self._inspection = Inspection(bench, request, bundle_dir, progress)
        self._call_samples: dict[Side, CallSample] = {}
        self._checks: tuple[CheckReport, ...] = ()
        self._metrics: dict[str, Any] = {}

    def judge(self) -> CaseEvaluation:
        """The whole case. Raises `HarnessError` only: everything a bundle does ends in an evaluation."""
        try:
            self._run()
            with self._stages.stage("tools"):
                self._inspect()
                self._rate()
            return self._report(Verdict.PASSED, None)
        except CellFailed as outcome:
            if outcome.verdict is Verdict.RUNTIME_ERROR and self._measurement and self._measurement.is_capturing:
                self.died_captured = outcome.failure.message
            return self._report_failure(outcome)
        except CannotWire as problem:
            failure = Failure(phase=Phase.INPUTS, side=Side.CANDIDATE, message=str(problem))
            return self._report(Verdict.REJECTED, failure)
        finally:
            if not self._ends_later:
                self._ready.close()

    def _run(self) -> None:
        """All of it but the tools. Raises `CellFailed`, `CannotWire` and `HarnessError`."""
        self._progress("compiling")
        self._ready.notes += self._inspection.notes()
        self._ready.prepare()
        self._deadline = time.monotonic() + self._request.timeout  # starting our own processes is not the bundle's time
        hookup = Hookup(self._ready, self._request, self._secret)
        self._places = hookup.places
        is_gpu = self._bench.device.is_gpu
        trials = Trials(self._ready, self._request, self._secret, self._places, self._labels, is_gpu=is_gpu)
        self._trials = trials
        stage = self._stages.stage
        try:
            self._progress("loading")
            with stage("load"):
                self._ready.load(self._deadline)
            with stage("connect"):
                drawer = hookup.connect(self._deadline)
                inspector = self._inspector(hookup.reference_draws)
            with stage("settle"):
                start = time.monotonic()
                self._bench.finish()
                self._deadline += time.monotonic() - start
            if is_gpu:
                with stage("tune"):
                    self._progress("tuning")
                    trials.tune(drawer, self._deadline)
            with stage("check"):
                estimate_s = trials.check(drawer, inspector, self._deadline, self._progress)
                self._build = self._ready.report()
            self._measure(hookup, drawer, inspector, estimate_s)
            with stage("numerics"):
                self._keep_call_samples(drawer)
                self._assess(trials, drawer, inspector)
            self._ends_later = self._bench.later is not None and not self._inspection.wanted
        except (DeviceFull, torch.OutOfMemoryError) as error:
            if not self._bench.device.is_gpu:
                raise host_full(self._ready.every_cell, error) from error
            raise device_full(self._ready.every_cell, error) from error
        except CellFailed as failed:
            raise blamed(failed, self._ready.every_cell) if self._bench.device.is_gpu else failed from None
        finally:
            with stage("end"):
                self._end(hookup)

    def _assess(self, trials: Trials, drawer: Drawer, inspector: Inspector) -> None:
        self._progress("numerics")
        slowest_s = max(place.patience.usual_s or 0.0 for place in self._places.values())
        self._deadline = own_deadline(self._deadline, slowest_s)
        self._numerics, found = assess(self._ready, trials, drawer, inspector, self._timed_call, self._deadline)
        self._labels += found

    def _end(self, hookup: Hookup) -> None:
        """Kill the cells and give their memory back. On a GPU that takes a tenth of a second; where all went well, the
        case does not wait for it."""

        def end() -> None:
            self._ready.kill()  # before memory is given back that they have mapped
            try:
                hookup.close()
            finally:
                self._ready.close()

        if self._ends_later and self._bench.later is not None:
            self._ready.strike()
            self._bench.later(end)
        else:
            end()

    # -- measure ------------------------------------------------------------------------------------------------

    def _inspector(self, reference_draws: bool) -> Inspector:
        candidate, reference = self._places[Side.CANDIDATE], self._places.get(Side.REFERENCE)
        declared = [self._ready.io(side) for side in (Side.CANDIDATE, Side.REFERENCE)]
        tolerances = tolerances_of(candidate, self._request, declared)
        on_answers = _DRAWN if reference_draws else ""
        return Inspector(candidate, reference, tolerances, self._errors, self._about_outputs(), on_answers)

    def _about_outputs(self) -> str:
        """What is told of a wrong output whose kernel may take it for zeros."""
        kernel = self._request.candidate
        has_output = kernel.io is not None and any(arg.role is Role.OUTPUT for arg in kernel.io.args)
        return _NOT_ZEROS if has_output and readings.updates_in_place(kernel.source) else ""

    def _measure(self, hookup: Hookup, drawer: Drawer, inspector: Inspector, estimate_s: float) -> None:
        places = [self._places[Side.CANDIDATE]]
        if Side.REFERENCE in self._places:
            places.append(self._places[Side.REFERENCE])
        picker = CallPicker(places, self._secret.host_generator("picked"))
        start = time.monotonic()
        null = self._bench.null()
        self._measurement = measurement = Measurement(
            places,
            null,
            drawer,
            self._secret,
            self._bench.rules(self._request),
            self._bench.conditions,
            check=lambda _, order: inspector.inspect(order, Phase.MEASURE),
            offer=picker.offer,
            one_by_one=lambda: hookup.have_inputs_made_apart(drawer),
            stages=self._stages,
            lane=self._bench.lane,
        )
        began_s = time.time()
        with self._bench.still():
            self._deadline += time.monotonic() - start
            self._timings = measurement.run(estimate_s, self._time_to_measure(), self._progress)
        self._timed_call = picker.picked
        if (pid := self._bench.conditions.stranger(began_s, strangers.LATE_BY_S)) is not None:
            self._labels.append("shared_device")
            self._ready.notes.append(f"process {pid}, which is not evald's, used the GPU while this was timed")
        self._note_what_was_timed(drawer, measurement)

    def _time_to_measure(self) -> float:
        """Until when (monotonic) rounds go on. Where calls take no time, in that of evald's own too: a kernel that uses
        up the contract's before the clock runs would have few rounds otherwise, and short ones, which tell little. How
        long a call takes the reference says, if there is one."""
        honest = self._places.get(Side.REFERENCE, self._places[Side.CANDIDATE])
        usual_s = honest.patience.usual_s
        if usual_s is None or usual_s > _QUICK_S:
            return self._deadline
        return own_deadline(self._deadline, usual_s)

    def _note_what_was_timed(self, drawer: Drawer, measurement: Measurement) -> None:
        """Labels and notes for whoever reads the figure: too few calls, contents that a kernel may have kept."""
        calls, wanted_calls = sum(self._timings[0].calls), self._request.num_trials
        if self._timings[0].stop == "time" and calls < wanted_calls:
            self._ready.notes.append(f"timed {calls} calls; num_trials asks for {wanted_calls}, but the time was over")
        if drawer.never_varied and "fixed_inputs" not in self._labels:
            self._labels.append("fixed_inputs")
        if drawer.repeats:
            self._labels.append("repeating_inputs")
            self._ready.notes.append("there are few sets of inputs to be drawn: a kernel may have kept its answers")
        if unchanging := drawer.unchanging:
            self._labels.append("constant_inputs")
            names = ", ".join(unchanging)[:300]
            self._ready.notes.append(f"inputs that never change, of which a kernel may have kept what it made: {names}")
        if measurement.not_captured is not None:
            self._ready.notes.append(f"timed call by call, not as a CUDA graph: {measurement.not_captured}")

    # -- under NVIDIA's tools ------------------------------------------------------------------------------------

    def _keep_call_samples(self, drawer: Drawer) -> None:
        """Keep how each kernel is called, and one content, for launches after all of these cells are gone. A failure
        here is no verdict: the tools then have no content to run on."""
        if not self._inspection.wanted:
            return
        try:
            values = drawer.draw("tools", 0, [0], deadline=time.monotonic() + _SAMPLE_LIMIT_S)
        except (CellFailed, CannotWire) as problem:
            self._ready.notes.append(f"no inputs for metrics and checks: {problem}")
            return
        self._call_samples = {side: CallSample(place.wiring, values) for side, place in self._places.items()}

    def _inspect(self) -> None:
        """Checks and counters, where they were asked for. Raises `CellFailed` for what a check says."""
        if not self._inspection.wanted:
            return
        self._checks = self._inspection.checks(self._call_samples.get(Side.CANDIDATE))
        if (found := sanitizer.verdict_of(self._checks)) is not None:
            verdict, message = found
            raise CellFailed(verdict, Failure(phase=Phase.REPORT, side=Side.CANDIDATE, message=message))
        with self._bench.still():
            self._metrics = self._inspection.metrics(self._call_samples, self._timings_by_side())

    def _timings_by_side(self) -> dict[Side, Timing]:
        sides = (Side.CANDIDATE, Side.REFERENCE)[: len(self._timings)]
        return dict(zip(sides, self._timings, strict=True))

    def _rate(self) -> None:
        """Each time beside the work of a call, as it was counted or declared."""
        if self._request.work is not None:
            self._progress("share of the device")  # the first time it has to be measured what that can do
        rater = Rater(declared(self._request.work), self._bench.ceilings)
        self._timings = [
            rater.rated(timing, roofline_of(self._metrics, side)) for side, timing in self._timings_by_side().items()
        ]
        self._ready.notes += rater.notes

    # -- the report ---------------------------------------------------------------------------------------------

    def _report_failure(self, outcome: CellFailed) -> CaseEvaluation:
        self._ready.kill()
        outcome = consequence(outcome, self._ready.every_cell)
        used_s = self._request.timeout if self._candidate_used_the_time() else None
        verdict, failure = verdict_on(outcome, used_s, self._ready.weights.own)
        return self._report(verdict, failure)

    def _candidate_used_the_time(self) -> bool:
        candidate, reference = self._places.get(Side.CANDIDATE), self._places.get(Side.REFERENCE)
        if candidate is None or reference is None or time.monotonic() < self._deadline:
            return False
        loading_s = self._ready.loading_s
        mine_s = candidate.patience.spent_s + loading_s[Side.CANDIDATE]
        theirs_s = reference.patience.spent_s + loading_s[Side.REFERENCE]
        return mine_s > max(theirs_s, self._request.timeout / 2)

    def _report(self, verdict: Verdict, failure: Failure | None) -> CaseEvaluation:
        if not self._ends_later:
            self._ready.kill()
        if verdict is Verdict.PASSED and (short := short_of_memory(self._ready.every_cell)):
            sides = " and ".join(f"the {side}" for side in sorted(short))
            self._ready.notes.append(f"some process of {sides} was killed for want of memory meanwhile")
        candidate = self._ready.cells.get(Side.CANDIDATE)
        build = self._build
        if not (build or self._ends_later):  # no cell is asked that is dying
            build = self._ready.report()
        timing = self._timings[0] if self._timings and verdict is Verdict.PASSED else None
        ref_timing = self._timings[1] if timing and len(self._timings) > 1 else None
        phase = failure.phase if failure else Phase.REPORT
        return CaseEvaluation(
            name=self._case.name,
            bind=dict(self._case.bind),
            verdict=verdict,
            phase=phase,
            failure=failure,
            compiled=self._compiled(verdict),
            correctness=self._correctness(verdict),
            trials_passed=self._trials.passed if self._trials else 0,
            trials_total=self._request.correctness_trials,
            max_abs_error=self._errors.max_abs,
            max_rel_error=self._errors.max_rel,
            worst_output=self._errors.worst_output,
            worst_index=self._errors.worst_index,
            numerics=self._numerics if verdict is Verdict.PASSED else None,
            timing=timing,
            ref_timing=ref_timing,
            speedup=speedup(timing, ref_timing) if timing and ref_timing else None,
            comparison=compare_speed(timing, ref_timing) if timing and ref_timing else None,
            compile_ms=self._ready.compile_ms or None,
            stages_ms=dict(self._stages.took_ms),
            labels=tuple(self._labels),
            notes=tuple(self._ready.notes),
            stdout_tail=candidate.stdout.text() if candidate else "",
            stderr_tail=own_stderr(candidate, failure) if candidate else "",
            checks=self._checks,
            device_metrics=self._metrics,
            tool_reports=dict(self._inspection.reports),
            build=dict(list(build.items())[:_REPORTED_BUILD_KEYS]),
        )

    def _compiled(self, verdict: Verdict) -> bool:
        """Whether the candidate's sources were built and imported, and what they define constructed."""
        built_only = verdict is Verdict.UNSUPPORTED and Side.CANDIDATE in self._ready.artifacts
        return built_only or (Side.CANDIDATE in self._ready.loaded and verdict is not Verdict.COMPILE_ERROR)

    def _correctness(self, verdict: Verdict) -> bool | None:
        """None where nothing was compared."""
        if not isinstance(self._request, CompareRequest) or verdict in (Verdict.REJECTED, Verdict.UNSUPPORTED):
            return None
        return verdict is Verdict.PASSED
