"""From sources to kernels that stand ready in their cells: built, started, loaded, constructed, with equal weights."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.contract import CompareRequest, IOContract
from daemon.evaluation import Failure
from daemon.executor.artifacts.build import Artifact, described
from daemon.executor.artifacts.bundle import Request, kernel_of, memfd
from daemon.executor.cases.bench import Bench
from daemon.executor.cases.weights import Weights
from daemon.executor.catalog import BackendSpec
from daemon.executor.cells.capture import printable
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed, TimeLimit
from daemon.executor.cells.patience import Patience
from daemon.executor.content.exports import Export, StagingBuffer
from daemon.executor.content.inputs import Secret
from daemon.executor.content.wiring import CannotWire
from daemon.executor.shared.protocol import Message
from daemon.executor.timing.stages import Stages
from daemon.verdict import Phase, Side, Verdict

_QUICK_LOAD_S = 1.0


@dataclass(frozen=True)
class Loaded:
    """What a cell says its kernel has. A cell may say anything, so a value of the wrong type counts as not said."""

    makes_inputs: bool
    guesses_inputs: bool
    makes_init_inputs: bool
    constructs: bool
    parameters: list[str] | None
    notes: list[str]

    @classmethod
    def of(cls, answer: Message) -> Loaded:
        notes, names = answer.get("notes"), answer.get("parameters")
        # No two parameters of a function have one name.
        known = isinstance(names, list) and all(isinstance(n, str) for n in names) and len(set(names)) == len(names)
        return cls(
            makes_inputs=answer.get("makes_inputs") is True,
            guesses_inputs=answer.get("guesses_inputs") is True,
            makes_init_inputs=answer.get("makes_init_inputs") is True,
            constructs=answer.get("constructs") is True,
            parameters=names if known else None,
            notes=[printable(str(note)[:500]) for note in notes[:20]] if isinstance(notes, list) else [],
        )


class Preparation:
    """The cells of one case and what is in them. `prepare`, `load` in this order, then `close`.

    All raise `CellFailed` for what a kernel did and `HarnessError` when no cell can be had.
    """

    def __init__(self, bench: Bench, request: Request, bundle_dir: Path, secret: Secret, stages: Stages) -> None:
        self._stages = stages
        self._bench = bench
        self._request = request
        self._bundle_dir = bundle_dir
        self._secret = secret
        self._buffers: dict[Cell, StagingBuffer] = {}
        self._deadline = 0.0
        self.cells: dict[Side, Cell] = {}
        self.maker: Cell | None = None  # of inputs, where no timed cell makes them
        self.loaded: dict[Side, Loaded] = {}
        self.artifacts: dict[Side, Artifact] = {}
        self.compile_ms = 0.0
        self.loading_s = dict.fromkeys(Side, 0.0)  # of the contract's time, by whose source took it
        self.notes: list[str] = []
        self.weights = Weights(self.notes)

    @property
    def sides(self) -> tuple[Side, ...]:
        """The reference first: when it fails, the candidate is not to blame, whatever it would have done."""
        compare = isinstance(self._request, CompareRequest)
        return (Side.REFERENCE, Side.CANDIDATE) if compare else (Side.CANDIDATE,)

    @property
    def every_cell(self) -> list[Cell]:
        """Of both sides, and the maker of inputs."""
        return [*self.cells.values(), *([self.maker] if self.maker is not None else [])]

    def backend(self, side: Side) -> BackendSpec:
        """What is known of the kernel type of one side."""
        return self._bench.backends[kernel_of(self._request, side).kernel_type]

    def io(self, side: Side) -> IOContract | None:
        """The contract of one side's arguments; None where it has none, or the side is not there."""
        return kernel_of(self._request, side).io if side in self.sides else None

    def patience(self, side: Side) -> Patience:
        """How long to wait for calls of one side."""
        return Patience.of(self._bench.settings.deadlines, self._bench.device.kind, side)

    def prepare(self) -> None:
        """Start the cells, or take ones that stand ready, while what has to be compiled for them is compiled."""
        with self._stages.stage("start"):
            if self._can_run():
                self._start()
        with self._stages.stage("build"):
            self._build()
        with self._stages.stage("start"):
            for cell in self.every_cell:
                cell.greet()

    def _can_run(self) -> bool:
        return all(self._bench.device.kind in self.backend(side).devices for side in self.sides)

    def _build(self) -> None:
        """Compile what has to be compiled, in cells without a device."""
        for side in self.sides:
            if self._bench.builds.are_needed(self._request, side):
                self.artifacts[side] = self._bench.builds.artifact(self._request, side, self._bundle_dir)
                self.compile_ms += self.artifacts[side].build_ms if side is Side.CANDIDATE else 0.0
                self._require_taken(side)
        for side in self.sides:
            if self._bench.device.kind not in self.backend(side).devices:
                kind = kernel_of(self._request, side).kernel_type
                done = "compiled, not run" if side in self.artifacts else "not run"
                raise self._unsupported(side, f"{done}: a {kind} kernel needs a GPU, this host judges on the CPU")

    def _unsupported(self, side: Side, message: str) -> CellFailed:
        return CellFailed(Verdict.UNSUPPORTED, Failure(phase=Phase.BUILD, side=side, message=message))

    def _require_taken(self, side: Side) -> None:
        """Raises `CellFailed` where the compiler did not take the sources, now or before."""
        artifact = self.artifacts[side]
        if artifact.refusal is not None:
            if artifact.cached:
                self.notes.append(f"{side}: not compiled again, this is what the compiler said of these very sources")
            raise CellFailed(Verdict.COMPILE_ERROR, artifact.refusal.model_copy(update={"side": side}))

    def _start(self) -> None:
        """Start all cells at once, so that they import torch side by side."""
        for side in self.sides:
            self.cells[side] = self._bench.cells[side].start(side)
        if len(self.sides) == 1 and self.io(Side.CANDIDATE) is None:
            self.maker = self._bench.cells[Side.REFERENCE].start(Side.CANDIDATE)

    def load(self, deadline: float) -> None:
        """Import both sources and construct what they define, seeded alike; all by `deadline` (monotonic)."""
        self._deadline = deadline
        self._bench.refill()
        for cell in self.every_cell:
            cell.time_limit = TimeLimit(self._request.timeout, "`timeout` in the contract")
        for side in self.sides:
            with self._loading(side):
                self._load_one(side)
        if self.maker is not None:
            self._load_into(self.maker, Side.CANDIDATE)
        self._construct_all(self._secret.seed("init"))
        self._share_state()

    @contextmanager
    def _loading(self, side: Side) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            self.loading_s[side] += time.monotonic() - start

    def _construct_all(self, seed: int) -> None:
        init: Export | None = None
        for side, cell in self.cells.items():
            with self._loading(side):
                answer = self._construct(cell, seed, init)
            if side is Side.REFERENCE:
                self.weights.note_lazy(answer.get("lazy"))
                if self.loaded[side].makes_init_inputs:
                    init = self._init_inputs(cell, seed)
        if self.maker is not None:
            self._construct(self.maker, seed, None)

    def _construct(self, cell: Cell, seed: int, init: Export | None) -> Message:
        """What the cell answers. `init`: the constructor's arguments; None if the source itself makes them."""
        message: Message = {"type": "construct", "seed": seed, "init": None, "tensors": []}
        if init is None:
            return cell.request(message, "constructed", phase=Phase.LOAD, deadline=self._deadline)
        with closing(init.fetch(self._deadline)) as given:
            message |= {"init": init.node, **init.as_message(), "memory": given.as_message()}
            return cell.request(message, "constructed", phase=Phase.LOAD, deadline=self._deadline, fds=given.fds)

    def _init_inputs(self, cell: Cell, seed: int) -> Export | None:
        """The reference's constructor arguments, which the candidate's constructor gets too. None where they cannot be
        handed to another process and the candidate's source makes its own.

        Raises `CannotWire` where that source makes none: the reference may be right, so it is not blamed.
        """
        init = self.export(cell, "init", Phase.LOAD)
        try:
            init.describe(seed, self._deadline)
        except CannotWire as problem:
            if not self.loaded[Side.CANDIDATE].makes_init_inputs:
                message = f"of the reference, {problem}; or give the custom source a get_init_inputs() of its own"
                raise CannotWire(message) from problem
            self.notes.append(f"the custom kernel is constructed with its own; of the reference, {problem}")
            return None
        return init

    def _load_one(self, side: Side) -> None:
        start = time.perf_counter()
        self.loaded[side] = self._load_into(self.cells[side], side)
        if side is Side.CANDIDATE:
            self.compile_ms += (time.perf_counter() - start) * 1e3
            self.notes += self.loaded[side].notes

    def start_maker(self) -> Cell | None:
        """Another process with the reference's source, which makes inputs from then on. None where importing that takes
        long, or comes to nothing the second time. (Where there is no reference, one was started with the others.)"""
        if self.loading_s[Side.REFERENCE] > _QUICK_LOAD_S:
            return None
        self.maker = self._bench.cells[Side.REFERENCE].start(Side.REFERENCE)
        self.maker.greet()
        self.maker.time_limit = self.cells[Side.REFERENCE].time_limit
        try:
            with self._loading(Side.REFERENCE):
                self._load_into(self.maker, Side.REFERENCE)
        except CellFailed:
            self.dismiss_maker()
        return self.maker

    def dismiss_maker(self) -> None:
        """Have the reference's own cell make the inputs."""
        if self.maker is not None:
            self.maker.kill()
            self.maker = None

    def _load_into(self, cell: Cell, side: Side) -> Loaded:
        """What `cell` says of the sources of `side`, which it has imported."""
        files, message = self._bench.builds.sources(self._request, side, self._bundle_dir)
        artifact = self.artifacts.get(side)
        built = artifact.data if artifact is not None else b""
        with files.as_memfd() as sources, memfd([built]) as packed:
            order: Message = message | {"type": "load", "artifact_bytes": len(built)}
            fds = (sources, packed)
            return Loaded.of(cell.request(order, "loaded", phase=Phase.LOAD, deadline=self._deadline, fds=fds))

    def _share_state(self) -> None:
        """The reference's weights into the candidate's module, where names and shapes match."""
        if len(self.sides) == 1 or not all(loaded.constructs for loaded in self.loaded.values()):
            return
        state = self.export(self.cells[Side.REFERENCE], "state", Phase.LOAD)
        self.weights.share(state, self.cells[Side.CANDIDATE], self._deadline)

    def unvaried_weights(self, deadline: float) -> list[str]:
        """The reference's weights that have one value only, whatever has been called."""
        if not (names := self.weights.constant):
            return []
        state = self.export(self.cells[Side.REFERENCE], "state", Phase.CHECK, only=names)
        return self.weights.unvaried(state, deadline)

    def export(self, cell: Cell, what: str, phase: Phase, *, only: Sequence[str] | None = None) -> Export:
        """Tensors out of `cell`, in memory that is given back with the case. `only`: of the state, the tensors of these
        names."""
        device = self._bench.device.kind
        limit_bytes = self._bench.tensor_bytes
        if device == "cpu":
            # An expanded tensor costs the cell nothing, so it may claim more than its memory could hold.
            limit_bytes = min(limit_bytes, self._bench.settings.sandbox.memory_bytes)
        buffer = self._buffers.setdefault(cell, StagingBuffer(cell, device))
        return Export(buffer, what, limit_bytes, phase, only=only)

    def report(self) -> dict[str, Any]:
        """What is known of the candidate's build, and of its kernel now that it has been called: the tuned config."""
        artifact = self.artifacts.get(Side.CANDIDATE)
        own = {"cached": artifact.cached, "build_ms": round(artifact.build_ms, 1)} if artifact else {}
        known = {**(artifact.describe if artifact else {}), **own}
        known.pop("precompiled_header_wanted", None)
        cell = self.cells.get(Side.CANDIDATE)
        if cell is None or cell.ended is not None or Side.CANDIDATE not in self.loaded:
            return known
        answer = cell.request({"type": "report"}, "reported", phase=Phase.CHECK, deadline=self._deadline)
        cell.freeze()
        return known | described(answer)

    def strike(self) -> None:
        """Send the cells what kills them."""
        for cell in self.every_cell:
            cell.strike()

    def kill(self) -> None:
        """Kill the cells, all at once. Idempotent."""
        self.strike()
        for cell in self.every_cell:
            cell.kill()

    def close(self) -> None:
        """Kill the cells and let go of shared memory. Idempotent."""
        self.kill()
        for buffer in self._buffers.values():
            buffer.close()
