"""Jobs judged one after the other on one device slot, each from its contract to an `Evaluation`.

Theory of operation: what lives as long as the judge is made once: cells that stand ready, and the null candidate's
cell. That one is started first, as proof that cells start here, and kept: it never sees a bundle.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from daemon import log
from daemon.contract import CaseSpec, ParsedContract, TimingMode
from daemon.errors import BundleError, DeviceError, FoundSick, HarnessError
from daemon.evaluation import CaseEvaluation, Evaluation, Failure
from daemon.executor import catalog
from daemon.executor.artifacts.builds import Builds
from daemon.executor.artifacts.bundle import Request, bound, parse_folder
from daemon.executor.cases.bench import Bench
from daemon.executor.cases.case import CaseJudge
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.settings import pool_threads
from daemon.executor.cells.spares import Nursery, Preloaded, Spares
from daemon.executor.cells.starting import Cells
from daemon.executor.host import environment
from daemon.executor.programs.confinement import Confinement
from daemon.executor.programs.proof import prove
from daemon.executor.programs.shortening import shortened
from daemon.executor.programs.yardstick import Yardstick
from daemon.executor.sandbox.policy import UidStep
from daemon.executor.timing.conditions import GpuConditions, HostConditions
from daemon.executor.timing.cores import cores_here, lane_of
from daemon.executor.timing.telemetry import Telemetry
from daemon.executor.timing.wakeful import Wakeful
from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.toolbox import Toolbox
from daemon.verdict import Phase, Side, Verdict

_SIDES = (Side.REFERENCE, Side.CANDIDATE)  # in the order in which they are wanted
_WORST_FIRST = tuple(reversed(Verdict))
_BESIDE_THE_DEAD = (Phase.LOAD, Phase.INPUTS, Phase.CHECK)  # what comes before they are waited for
_WHATEVER_MEMORY = (Verdict.PASSED, Verdict.TIMEOUT)


class Judge:
    """Judges jobs one after the other on the device slot of `confinement`, in its cells."""

    def __init__(self, confinement: Confinement) -> None:
        import torch

        torch.set_grad_enabled(False)
        self._settings = settings = confinement.settings
        self._device = device = confinement.device
        self._confinement = confinement
        if device.is_gpu:
            torch.zeros(1, device="cuda")  # a judge that cannot use its GPU ends here, with torch's reason
            torch.set_num_threads(1)  # more would be kept to the judge's processor, and take it from the clock
        else:
            torch.set_num_threads(pool_threads(settings))  # the cells need a core as well
        self._telemetry = Telemetry(device)
        self._backends = catalog.load(settings.backend_paths)
        self._null_cell: Cell | None = None
        self._endings: list[Callable[[], None]] = []
        self._unfinished: DeviceError | None = None
        self._versions = environment.toolchain()
        lane = lane_of(confinement.slot, cores_here()) if device.is_gpu else None
        self._wakeful = Wakeful(lane.cells if lane is not None else None, confinement.groups)
        spare_cells = settings.sandbox.spare_cells
        self._nursery = Nursery({side: Spares(self._cells_of(side), spare_cells) for side in _SIDES})
        self._bench = Bench(
            settings=settings,
            cells=self._nursery.spares,
            builds=Builds.of(
                settings,
                device,
                self._backends,
                confinement.cells(UidStep.BUILD, sees_device=False),
            ),
            null=self._null,
            backends=self._backends,
            device=device,
            conditions=GpuConditions(self._telemetry, self._wakeful) if device.is_gpu else HostConditions(),
            tools=Toolbox.of(device),
            ceilings=self._ceilings,
            refill=self._nursery.refill,
            still=self._still,
            finish=self._require_finished,
            later=self._endings.append if device.is_gpu else None,
            lane=lane,
        )
        threads = None if device.is_gpu else pool_threads(settings)
        self._yardstick = Yardstick(self._bench, self._versions["torch"], threads)

    def _cells_of(self, side: Side) -> Cells:
        cells = self._confinement.cells(UidStep[side.name])
        return cells.having(replace(cells.settings, as_reference=side is Side.REFERENCE))

    def _null(self) -> Cell:
        if self._null_cell is None or self._null_cell.program.poll() is not None:
            self._null_cell = self._confinement.cells(UidStep.NULL).start(Side.CANDIDATE)
            self._null_cell.greet()
        return self._null_cell

    @contextmanager
    def _still(self) -> Iterator[None]:
        with self._nursery.still(), self._wakeful.awake():
            yield

    def _ceilings(self) -> Ceilings | None:
        self.finish()  # the memory of the case that asks
        return self._yardstick.ceilings()

    def prove(self) -> None:
        """Start a real cell, the null candidate's, and have it answer through shared memory: a host on which that fails
        must find out before it takes a bundle.

        Raises `HarnessError` with what the cell said, or did not do.
        """
        prove(self._null(), self._device.kind)
        self._nursery.refill()

    def evaluate(self, bundle_dir: Path, progress: Callable[[str, str | None], None]) -> Evaluation:
        """Judge the bundle in `bundle_dir`. Raises `HarnessError` only, `FoundSick` when nothing of it has run."""
        start = time.perf_counter()
        self._require_healthy()
        try:
            parsed = self._parse(bundle_dir)
        except BundleError as error:
            return Evaluation.rejected(error.message)
        cases = self._judge_cases(parsed, bundle_dir, progress)
        self._telemetry.require_healthy()
        worst = min(cases, key=lambda case: _WORST_FIRST.index(case.verdict))
        compile_ms = [case.compile_ms for case in cases if case.compile_ms is not None]
        return Evaluation(
            verdict=worst.verdict,
            phase=worst.phase,
            message=_message(worst, len(cases)),
            cases=tuple(cases),
            compile_ms=sum(compile_ms) if compile_ms else None,
            evaluate_ms=(time.perf_counter() - start) * 1e3,
            environment=environment.describe(
                self._device, self._confinement.isolation, self._versions, self._telemetry.clocks()
            ),
            notes=tuple(str(warning) for warning in parsed.warnings) + self._unmet(parsed),
        )

    def _parse(self, bundle_dir: Path) -> ParsedContract:
        return parse_folder(bundle_dir, catalog.contract_types(self._backends), self._settings.limits)

    def _judge_cases(
        self, parsed: ParsedContract, bundle_dir: Path, progress: Callable[[str, str | None], None]
    ) -> list[CaseEvaluation]:
        """Judge every case, even after one failed: a table of which sizes work is worth more than the first size that
        does not. The time of all is limited, because others wait for the device."""
        request = parsed.request
        several = len(request.cases) > 1
        limit_s = self._settings.deadlines.job_s
        end = time.monotonic() + limit_s
        evaluations: list[CaseEvaluation] = []
        for case in request.cases:
            if evaluations and time.monotonic() >= end:
                evaluations.append(_not_begun(case, limit_s))
                continue
            told = _named(progress, case.name if several else None)
            found = self._judge_case(bound(request, case), case, bundle_dir, told)
            evaluations.append(shortened(found, len(request.cases)))
        return evaluations

    def _judge_case(
        self, request: Request, case: CaseSpec, bundle_dir: Path, told: Callable[[str], None]
    ) -> CaseEvaluation:
        """Judge one case. If it fails before its first call while dead cells of the case before are still there, it is
        judged again when they are gone: they hold memory, and a lack of memory has many names. A case that comes to no
        end is not tried again."""
        self._raise_unfinished()
        try:
            found = self._judged(request, case, bundle_dir, told)
        except HarnessError:
            if not self._endings:
                raise
        else:
            is_final = found.verdict in _WHATEVER_MEMORY or found.phase not in _BESIDE_THE_DEAD
            if is_final or not self._endings:
                return found
        self._require_finished()
        return self._judged(request, case, bundle_dir, told)

    def _judged(
        self, request: Request, case: CaseSpec, bundle_dir: Path, told: Callable[[str], None]
    ) -> CaseEvaluation:
        """Judge one case; if a kernel's process dies while it is captured, once more in another process, timed by its
        calls. C++ destructors that free memory of the device during a capture throw, and that ends a process (thrust's
        do)."""
        attempt = CaseJudge(self._bench, request, case, bundle_dir, told)
        found = attempt.judge()
        if attempt.died_captured is None:
            return found
        timing = request.timing.model_copy(update={"mode": TimingMode.STREAM})
        by_calls = request.model_copy(update={"timing": timing})
        found = CaseJudge(self._bench, by_calls, case, bundle_dir, told).judge()
        note = f"timed call by call, not as a CUDA graph: while it was captured, {attempt.died_captured}"
        return found.model_copy(update={"notes": (note, *found.notes)})

    def _unmet(self, parsed: ParsedContract) -> tuple[str, ...]:
        """What the contract asked for that was not done, said plainly."""
        notes = []
        if parsed.request.timing.mode == "graph" and not self._device.is_gpu:
            notes.append("timing.mode graph needs a GPU; stream was used")
        return tuple(notes)

    def finish(self) -> None:
        """Do what was left for later. Until then the last case's dead cells hold their memory. What goes wrong here is
        raised before the next case begins (`_require_finished`), because it is not that case's fault."""
        while self._endings:
            try:
                self._endings.pop(0)()
            except Exception as error:  # noqa: BLE001 - whatever it is, the next case must not start upon it
                self._unfinished = DeviceError(f"the end of the case before failed: {error}")
                log.LOGGER.exception("the end of a case failed")

    def use_the_moment(self) -> Preloaded:
        """Called when there is nothing to do: one step of what makes the next case shorter. On a CPU nothing is done,
        because that would take time from others."""
        self.finish()
        return self._nursery.preload() if self._device.is_gpu else Preloaded.ALL

    def settle(self) -> None:
        """Wait until nothing of this judge's is at work on the device. It stays so until something is asked of the
        judge."""
        self.finish()
        if self._device.is_gpu:
            self._nursery.settle()

    def _require_finished(self) -> None:
        self.finish()
        self._raise_unfinished()

    def _raise_unfinished(self) -> None:
        if self._unfinished is not None:
            raise self._unfinished

    def _require_healthy(self) -> None:
        """Called before a bundle. Raises `FoundSick` if something is wrong with the device, or the bundle before has
        left something on it."""
        try:
            self._telemetry.require_healthy()
            self._raise_unfinished()
        except DeviceError as error:
            raise FoundSick(error.message, hint=error.hint) from error

    def close(self) -> None:
        self.finish()
        self._nursery.close()
        if self._null_cell is not None:
            self._null_cell.kill()
        self._wakeful.close()


def _named(progress: Callable[[str, str | None], None], name: str | None) -> Callable[[str], None]:
    return lambda text: progress(text, name)


def _not_begun(case: CaseSpec, limit_s: float) -> CaseEvaluation:
    message = (
        f"not judged: the cases before it took the {limit_s:g} s that those of one bundle may take "
        "(`deadlines.job_s`); send it in a bundle of its own"
    )
    failure = Failure(phase=Phase.BUILD, side=Side.CANDIDATE, message=message)
    return CaseEvaluation(
        name=case.name, bind=dict(case.bind), verdict=Verdict.TIMEOUT, phase=Phase.BUILD, failure=failure
    )


def _message(worst: CaseEvaluation, count: int) -> str | None:
    if worst.failure is None:
        return None
    return f"case {worst.name}: {worst.failure.message}" if count > 1 else worst.failure.message
