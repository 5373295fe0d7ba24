"""One case of one job, from sources to a `CaseEvaluation`: build, load, wire, check, measure. The judge's story in
order."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.contract import CaseSpec, CompareRequest, IOContract, KernelSpec, TensorSpec
from daemon.evaluation import CaseEvaluation, Failure, Timing
from daemon.executor.arena import SharedMemory
from daemon.executor.build import Artifact, ArtifactCache, artifact_key, build
from daemon.executor.bundle import KernelFiles, Request, files_for, kernel_of
from daemon.executor.capture import printable
from daemon.executor.catalog import BackendSpec
from daemon.executor.cells import Cell, CellFailed, Cells
from daemon.executor.drawing import Drawer, Export
from daemon.executor.findings import Errors, Inspector, mismatch, weak_controls
from daemon.executor.inputs import Secret
from daemon.executor.measure import Measurement, MeasureRules, compare_speed, fill_slot
from daemon.executor.protocol import Message
from daemon.executor.side import SidePlace, run_untimed
from daemon.executor.verify import Tolerance, tolerance_for
from daemon.executor.wiring import (
    CannotWire,
    Logical,
    Wiring,
    logical_from_io,
    pair_inputs,
    tensor_shape,
    wire_call,
    wire_io,
    wire_tree,
)
from daemon.verdict import Phase, Side, Verdict

_REPORTED_BUILD_KEYS = 40


@dataclass(frozen=True)
class Bench:
    """What the judge lends to a case: cells to start, the null candidate, the artifact cache, the settings, the
    kernel types."""

    settings: Settings
    cells: Mapping[Side, Cells]
    null: Callable[[], Cell]
    cache: ArtifactCache
    backends: Mapping[str, BackendSpec]
    device: str
    toolchain: dict[str, str | None]


@dataclass(frozen=True)
class Loaded:
    """What a cell says its kernel has. A cell may say anything: whatever is not of the right type counts as unsaid."""

    makes_inputs: bool
    guesses_inputs: bool
    makes_init_inputs: bool
    constructs: bool
    parameters: list[str] | None
    notes: list[str]

    @classmethod
    def of(cls, answer: Message) -> Loaded:
        notes, names = answer.get("notes"), answer.get("parameters")
        known = isinstance(names, list) and all(isinstance(name, str) for name in names)
        return cls(
            makes_inputs=answer.get("makes_inputs") is True,
            guesses_inputs=answer.get("guesses_inputs") is True,
            makes_init_inputs=answer.get("makes_init_inputs") is True,
            constructs=answer.get("constructs") is True,
            parameters=names if known else None,
            notes=[printable(str(note)[:500]) for note in notes[:20]] if isinstance(notes, list) else [],
        )


class CaseJudge:
    """Judges one case. `request` has its symbols resolved. Use once."""

    def __init__(
        self, bench: Bench, request: Request, case: CaseSpec, bundle_dir: Path, progress: Callable[[str], None]
    ) -> None:
        self._bench = bench
        self._request = request
        self._case = case
        self._bundle_dir = bundle_dir
        self._progress = progress
        self._secret = Secret()
        self._cells: dict[Side, Cell] = {}
        self._loaded: dict[Side, Loaded] = {}
        self._exports: list[Export] = []
        self._places: dict[Side, SidePlace] = {}
        self._artifacts: dict[Side, Artifact] = {}
        self._errors = Errors()
        self._phase = Phase.BUILD
        self._deadline = 0.0
        self._compile_ms = 0.0
        self._trials = 0
        self._labels: list[str] = []
        self._notes: list[str] = []
        self._timings: list[Timing] = []

    # -- the story ----------------------------------------------------------------------------------------------

    def judge(self) -> CaseEvaluation:
        """The whole case. Raises `HarnessError` only: everything a bundle does ends in an evaluation."""
        try:
            self._story()
            return self._report(Verdict.PASSED, None)
        except CellFailed as outcome:
            return self._report_failure(outcome)
        except CannotWire as problem:
            failure = Failure(phase=Phase.INPUTS, side=Side.CANDIDATE, message=str(problem))
            return self._report(Verdict.REJECTED, failure)
        finally:
            self._clean_up()

    def _story(self) -> None:
        self._refuse_what_cannot_run()
        self._progress("compiling")
        self._build()
        self._enter(Phase.LOAD)
        self._start_cells()
        self._deadline = time.monotonic() + self._request.timeout  # starting our own processes is not the bundle's time
        self._load()
        self._enter(Phase.INPUTS)
        drawer = self._wire()
        inspector = self._inspector()
        estimate_s = self._check(drawer, inspector)
        self._measure(drawer, inspector, estimate_s)

    def _enter(self, phase: Phase) -> None:
        self._phase = phase

    # -- build and load -----------------------------------------------------------------------------------------

    @property
    def _sides(self) -> tuple[Side, ...]:
        """The reference first: when it fails, the candidate is not to blame, whatever it would have done."""
        compare = isinstance(self._request, CompareRequest)
        return (Side.REFERENCE, Side.CANDIDATE) if compare else (Side.CANDIDATE,)

    def _backend(self, side: Side) -> BackendSpec:
        return self._bench.backends[kernel_of(self._request, side).kernel_type]

    def _refuse_what_cannot_run(self) -> None:
        requires = self._request.requires
        if requires is not None and self._bench.device == "cpu":
            wanted = requires.model_dump(exclude_none=True, exclude_defaults=True)
            runnable = all(self._bench.device in self._backend(side).devices for side in self._sides)
            if wanted and runnable:
                raise self._unsupported(Side.CANDIDATE, f"the contract requires {wanted}; this host judges on the CPU")

    def _unsupported(self, side: Side, message: str) -> CellFailed:
        return CellFailed(Verdict.UNSUPPORTED, Failure(phase=self._phase, side=side, message=message))

    def _build(self) -> None:
        for side in self._sides:
            if self._backend(side).build:
                self._artifacts[side] = self._built(side)
                self._compile_ms += self._artifacts[side].build_ms if side is Side.CANDIDATE else 0.0
        for side in self._sides:
            if self._bench.device not in self._backend(side).devices:
                kind = kernel_of(self._request, side).kernel_type
                done = "compiled, not run" if side in self._artifacts else "not run"
                raise self._unsupported(side, f"{done}: a {kind} kernel needs a GPU, this host judges on the CPU")

    def _built(self, side: Side) -> Artifact:
        files, message = self._sources(side)
        key = artifact_key(message, files, self._bench.toolchain)
        if (cached := self._bench.cache.get(key)) is not None:
            return cached
        artifact = build(
            self._bench.cells[side], side, message, files, deadline_s=self._bench.settings.deadlines.build_s
        )
        self._bench.cache.put(key, artifact)
        return artifact

    def _sources(self, side: Side) -> tuple[KernelFiles, Message]:
        """The files for one side's cell and the message that explains them."""
        kernel = kernel_of(self._request, side)
        spec = self._backend(side)
        files = files_for(self._request, side, self._bundle_dir, suffix=".py" if spec.contract.is_python else ".cu")
        launch = kernel.io.launch if kernel.io else None
        requires = self._request.requires
        message: Message = {
            "kernel_type": kernel.kernel_type,
            "source_file": files.source_file,
            "files": files.listing,
            "metadata": _metadata(kernel),
            "side": str(side),
            "device": self._bench.device,
            "args": [{"name": arg.name, "is_meta": arg.is_meta} for arg in (kernel.io.args if kernel.io else ())],
            "launch": launch.model_dump(mode="json") if launch else {},
            "requires": requires.model_dump(mode="json", exclude_none=True) if requires else {},
        }
        return files, message

    def _load(self) -> None:
        for side in self._cells:
            self._load_one(side)
        seed = self._secret.seed("init")
        init: Export | None = None
        for side, cell in self._cells.items():
            own = side is Side.REFERENCE or init is None or self._loaded[side].makes_init_inputs
            message: Message = {"type": "construct", "seed": seed, "init": None, "tensors": []}
            given: SharedMemory | None = None
            if not own and init is not None:
                message |= {"init": init.node, **init.as_message()}
                given = init.fetch(self._deadline)
            try:
                fds = (given.fd,) if given is not None else ()
                cell.request(message, "constructed", phase=Phase.LOAD, deadline=self._deadline, fds=fds)
            finally:
                if given is not None:
                    given.close()
            if side is Side.REFERENCE and self._loaded[side].makes_init_inputs:
                init = self._export(cell, "init", Phase.LOAD)
                init.describe(seed, self._deadline)
        self._share_state()

    def _start_cells(self) -> None:
        """Both cells at once: they import torch side by side. An evaluate that makes its own inputs gets a twin to
        make them."""
        sides = list(self._sides)
        kernel = kernel_of(self._request, Side.CANDIDATE)
        if isinstance(self._request, CompareRequest) or kernel.io is None:
            sides = [Side.REFERENCE, Side.CANDIDATE]
        for side in sides:
            self._cells[side] = self._bench.cells[side].start(side)
        for cell in self._cells.values():
            cell.greet()
        if not isinstance(self._request, CompareRequest) and Side.REFERENCE in self._cells:
            self._cells[Side.REFERENCE].side = Side.CANDIDATE  # the twin runs the candidate's own source

    def _load_one(self, role: Side) -> None:
        side = role if isinstance(self._request, CompareRequest) else Side.CANDIDATE
        files, message = self._sources(side)
        artifact = self._artifacts.get(side)
        start = time.perf_counter()
        with files.as_memfd() as sources:
            fds = [sources]
            if artifact is not None and artifact.data:
                fds.append(_memfd(artifact.data))
            try:
                answer = self._cells[role].request(
                    message | {"type": "load", "artifact_bytes": len(artifact.data) if artifact else 0},
                    "loaded",
                    phase=Phase.LOAD,
                    deadline=self._deadline,
                    fds=tuple(fds),
                )
            finally:
                _close(fds[1:])
        self._loaded[role] = Loaded.of(answer)
        if role is Side.CANDIDATE:
            self._compile_ms += (time.perf_counter() - start) * 1e3
            self._notes += self._loaded[role].notes

    def _share_state(self) -> None:
        """The reference's weights into the candidate's module, where names and shapes match."""
        if not isinstance(self._request, CompareRequest) or not self._loaded[Side.REFERENCE].constructs:
            return
        if not self._loaded[Side.CANDIDATE].constructs:
            return
        state = self._export(self._cells[Side.REFERENCE], "state", Phase.LOAD)
        state.describe(0, self._deadline)
        if not state.shapes:
            return
        memory = state.fetch(self._deadline)
        try:
            self._cells[Side.CANDIDATE].request(
                {"type": "adopt", "tree": state.node, **state.as_message()},
                "adopted",
                phase=Phase.LOAD,
                deadline=self._deadline,
                fds=(memory.fd,),
            )
        finally:
            memory.close()

    def _export(self, cell: Cell, what: str, phase: Phase) -> Export:
        export = Export(cell, what, self._bench.settings.limits.tensor_bytes, phase)
        self._exports.append(export)
        return export

    # -- inputs and outputs -------------------------------------------------------------------------------------

    def _wire(self) -> Drawer:
        """Decide what both sides are called with and how they answer; leaves a `SidePlace` per running side."""
        logicals, source = self._logical_inputs()
        wirings = self._wirings(logicals, source)
        drawer = Drawer(logicals, self._secret, source)
        for side, wiring in wirings.items():
            place = SidePlace(self._cells[side], wiring)
            self._places[side] = place
            if self._backend(side).answers == "either":
                self._discover_answer(place, drawer)
            if not place.wiring.answer:
                failure = Failure(
                    phase=Phase.CHECK, side=side, message="the kernel has no outputs: nothing can be judged"
                )
                raise CellFailed(Verdict.WRONG_ANSWER, failure)
        if Side.REFERENCE in self._places:
            problem = mismatch(self._places[Side.CANDIDATE], self._places[Side.REFERENCE])
            if problem is not None:
                raise problem
        return drawer

    def _io(self, side: Side) -> IOContract | None:
        return kernel_of(self._request, side).io if side in self._sides else None

    def _logical_inputs(self) -> tuple[list[Logical], Export | None]:
        """From the reference's io, else its get_inputs(), else the candidate's io, else what a signature suggests."""
        static = frozenset(self._request.static_args)
        reference_io, candidate_io = self._io(Side.REFERENCE), self._io(Side.CANDIDATE)
        if reference_io is not None:
            return logical_from_io(_inputs_only(reference_io), static), None
        maker = self._cells.get(Side.REFERENCE)
        loaded = self._loaded.get(Side.REFERENCE)
        guessed = loaded is not None and loaded.guesses_inputs
        makes = loaded is not None and loaded.makes_inputs
        if maker is not None and makes and not (guessed and candidate_io is not None):
            if guessed:
                self._notes.append("no get_inputs() and no io: inputs were derived from the signature")
            export = self._export(maker, "inputs", Phase.INPUTS)
            export.describe(self._secret.seed("shape"), self._deadline)
            return [Logical(f"input{i}", shape, None) for i, shape in enumerate(export.shapes)], export
        if candidate_io is not None:
            return logical_from_io(_inputs_only(candidate_io), static), None
        raise CannotWire(
            "nothing says what to call the kernel with: add get_inputs() to the source or io to the contract"
        )

    def _wirings(self, logicals: list[Logical], source: Export | None) -> dict[Side, Wiring]:
        reference_io, candidate_io = self._io(Side.REFERENCE), self._io(Side.CANDIDATE)
        by_name = {item.name: index for index, item in enumerate(logicals)}
        wirings: dict[Side, Wiring] = {}
        if Side.REFERENCE in self._sides:
            if reference_io is not None:
                wirings[Side.REFERENCE] = wire_io(reference_io, self._content(reference_io, by_name, logicals))
            elif source is not None:
                wirings[Side.REFERENCE] = wire_tree(source.node, logicals)
            else:
                assert candidate_io is not None
                wirings[Side.REFERENCE] = wire_call(candidate_io, by_name, self._loaded[Side.REFERENCE].parameters)
        if candidate_io is not None:
            content = by_name if len(self._sides) == 1 else pair_inputs(candidate_io, logicals)
            wirings[Side.CANDIDATE] = wire_io(candidate_io, self._content(candidate_io, content, logicals))
        elif source is not None:
            wirings[Side.CANDIDATE] = wire_tree(source.node, logicals)
        else:
            # A Python candidate without io is called as the reference is, its outputs returned or written.
            wirings[Side.CANDIDATE] = wirings[Side.REFERENCE]
        return wirings

    def _content(self, io: IOContract, content: dict[str, int], logicals: list[Logical]) -> dict[str, int]:
        """Add outputs that start with given content (accumulators): their own logical input."""
        content = {
            name: index for name, index in content.items() if any(a.name == name and a.is_input for a in io.args)
        }
        for arg in io.args:
            spec = arg.tensor_spec
            if spec is not None and not arg.is_input and (spec.init is not None or spec.data is not None):
                content[arg.name] = len(logicals)
                logicals.append(Logical(arg.name, tensor_shape(spec), spec, static=True))
        return content

    def _discover_answer(self, place: SidePlace, drawer: Drawer) -> None:
        """Call once to learn what comes back: the nesting, shapes and dtypes of the answer."""
        arena = place.attach(1, phase=Phase.CHECK, deadline=self._deadline)
        arena.compose(self._secret.generator("discover"), 1)
        fill_slot(place, 0, drawer.draw("discover", 0, [0], deadline=self._deadline)[0])
        arena.publish(1)
        export = self._export(place.cell, "outputs", Phase.CHECK)
        try:
            export.describe(self._secret.seed("discover"), self._deadline)
        except CannotWire as problem:
            failure = Failure(phase=Phase.CHECK, side=place.cell.side, message=f"the answer: {problem}")
            raise CellFailed(Verdict.WRONG_ANSWER, failure) from problem
        if export.returned:
            place.wiring = place.wiring.with_returned(export.node, export.shapes)

    # -- check and measure --------------------------------------------------------------------------------------

    def _inspector(self) -> Inspector:
        candidate, reference = self._places[Side.CANDIDATE], self._places.get(Side.REFERENCE)
        tolerances = [self._tolerance(place_name, candidate) for place_name in candidate.wiring.answer]
        return Inspector(candidate, reference, tolerances, self._errors)

    def _tolerance(self, index: int, candidate: SidePlace) -> Tolerance:
        answer = candidate.wiring.fields[index]
        spec = self._declared_output(answer.name)
        atol = spec.atol if spec and spec.atol is not None else self._request.atol
        rtol = spec.rtol if spec and spec.rtol is not None else self._request.rtol
        return tolerance_for(answer.tensor.dtype, atol, rtol)

    def _declared_output(self, name: str) -> TensorSpec | None:
        for side in (Side.CANDIDATE, Side.REFERENCE):
            io = self._io(side)
            for arg in io.args if io else ():
                if arg.name == name and arg.is_output:
                    return arg.tensor_spec
        return None

    def _check(self, drawer: Drawer, inspector: Inspector) -> float:
        """Trials on fresh inputs. Returns the fastest call seen, seconds: how large rounds may be."""
        self._enter(Phase.CHECK)
        total = self._request.correctness_trials
        for place in self._places.values():
            place.attach(1, phase=Phase.CHECK, deadline=self._deadline)
        fastest_s = float("inf")
        for trial in range(total):
            self._progress(f"checking {trial + 1}/{total}")
            fastest_s = min(fastest_s, self._trial(drawer, trial))
            inspector.inspect([0], Phase.CHECK)
            self._trials += 1
            if trial == 0:
                self._weak_controls(inspector, drawer)
        return fastest_s

    def _trial(self, drawer: Drawer, trial: int) -> float:
        values = drawer.draw("check", trial, [0], deadline=self._deadline)[0]
        slowest_s = 0.0
        for place in self._places.values():
            place.attached.compose(self._secret.generator("poison", trial, place.cell.side), 1)
            fill_slot(place, 0, values)
            seed = self._secret.seed("call", "check", trial)
            wall_s = run_untimed(place, [0], seed, phase=Phase.CHECK, deadline=self._deadline)
            slowest_s = max(slowest_s, wall_s)
        return slowest_s

    def _weak_controls(self, inspector: Inspector, drawer: Drawer) -> None:
        if not any(drawer.is_secret(index) for index in range(len(drawer.logicals))):
            self._labels.append("fixed_inputs")
        if inspector.reference is None:
            return
        arena, wiring = inspector.reference.attached, inspector.reference.wiring
        inputs = [
            arena.pristine(0, placed)
            for wired, placed in zip(wiring.fields, arena.layout.fields, strict=True)
            if wired.logical is not None
        ]
        if accepted := weak_controls(inspector.reference, inspector.tolerances, inputs):
            self._labels.append("weak_check")
            self._notes.append(f"a trivial answer would pass the check too: {', '.join(accepted)}")

    def _measure(self, drawer: Drawer, inspector: Inspector, estimate_s: float) -> None:
        self._enter(Phase.MEASURE)
        places = [self._places[Side.CANDIDATE]]
        if Side.REFERENCE in self._places:
            places.append(self._places[Side.REFERENCE])
        defaults, wanted = self._bench.settings.timing, self._request.timing
        rules = MeasureRules(
            max_s=(wanted.max_s if wanted else None) or defaults.max_s,
            target_rse=(wanted.target_rse if wanted else None) or defaults.target_rse,
            min_rounds=defaults.min_rounds,
            min_calls=self._request.num_trials,
            max_calls=defaults.max_calls,
            arena_bytes=defaults.arena_bytes,
        )
        start = time.monotonic()
        null = self._bench.null()
        self._deadline += time.monotonic() - start
        measurement = Measurement(
            places,
            null,
            drawer,
            self._secret,
            rules,
            check=lambda _, order: inspector.inspect(order, Phase.MEASURE),
        )
        self._timings = measurement.run(estimate_s, self._deadline, self._progress)

    # -- the report ---------------------------------------------------------------------------------------------

    def _report_failure(self, outcome: CellFailed) -> CaseEvaluation:
        """A reference that fails makes the bundle unusable: the candidate is not blamed for it."""
        failure, verdict = outcome.failure, outcome.verdict
        if failure.side is Side.REFERENCE and verdict is not Verdict.UNSUPPORTED:
            verdict, failure = (
                Verdict.REJECTED,
                failure.model_copy(
                    update={"message": f"the reference is at fault ({outcome.verdict}): {failure.message}"}
                ),
            )
        if verdict is Verdict.RUNTIME_ERROR and failure.phase in (Phase.BUILD, Phase.LOAD):
            verdict = Verdict.COMPILE_ERROR
        return self._report(verdict, failure)

    def _report(self, verdict: Verdict, failure: Failure | None) -> CaseEvaluation:
        for cell in self._cells.values():
            cell.kill()
        candidate = self._cells.get(Side.CANDIDATE)
        timing = self._timings[0] if self._timings and verdict is Verdict.PASSED else None
        ref_timing = self._timings[1] if timing and len(self._timings) > 1 else None
        artifact = self._artifacts.get(Side.CANDIDATE)
        phase = failure.phase if failure else Phase.REPORT
        return CaseEvaluation(
            name=self._case.name,
            bind=dict(self._case.bind),
            verdict=verdict,
            phase=phase,
            failure=failure,
            compiled=Side.CANDIDATE in self._loaded or (verdict is Verdict.UNSUPPORTED and artifact is not None),
            correctness=self._correctness(verdict),
            trials_passed=self._trials,
            trials_total=self._request.correctness_trials,
            max_abs_error=self._errors.max_abs,
            max_rel_error=self._errors.max_rel,
            worst_output=self._errors.worst_output,
            worst_index=self._errors.worst_index,
            timing=timing,
            ref_timing=ref_timing,
            speedup=_speedup(timing, ref_timing),
            comparison=compare_speed(timing, ref_timing) if timing and ref_timing else None,
            compile_ms=self._compile_ms or None,
            labels=tuple(self._labels),
            notes=tuple(self._notes),
            stdout_tail=candidate.stdout.text() if candidate else "",
            stderr_tail=candidate.stderr.text() if candidate else "",
            build=dict(list(artifact.describe.items())[:_REPORTED_BUILD_KEYS], cached=artifact.cached)
            if artifact
            else {},
        )

    def _correctness(self, verdict: Verdict) -> bool | None:
        """None where nothing was compared."""
        if not isinstance(self._request, CompareRequest) or verdict in (Verdict.REJECTED, Verdict.UNSUPPORTED):
            return None
        return verdict is Verdict.PASSED

    def _clean_up(self) -> None:
        for cell in self._cells.values():
            cell.kill()
        for place in self._places.values():
            place.close()
        for export in self._exports:
            export.close()


def _metadata(kernel: KernelSpec) -> dict[str, Any]:
    given = kernel.metadata.model_dump(mode="json", exclude_none=True)
    return {**given.pop("extra", {}), **given}


def _inputs_only(io: IOContract) -> IOContract:
    """Without pure outputs: those that start with content get theirs from `CaseJudge._content`."""
    return io.model_copy(update={"args": tuple(arg for arg in io.args if arg.is_input)})


def _speedup(timing: Timing | None, ref_timing: Timing | None) -> float | None:
    if timing is None or ref_timing is None or timing.stats.mean <= 0:
        return None
    return ref_timing.stats.mean / timing.stats.mean


def _memfd(data: bytes) -> int:
    fd = os.memfd_create("artifact", os.MFD_CLOEXEC)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
    return fd


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)
