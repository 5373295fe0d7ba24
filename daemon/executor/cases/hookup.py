"""What both kernels of a case are called with, and how they answer: from contracts and reports to places."""

from __future__ import annotations

import math
import time
from contextlib import suppress

from daemon.contract import IOContract
from daemon.evaluation import Failure
from daemon.executor.artifacts.bundle import Request
from daemon.executor.cases.findings import mismatch
from daemon.executor.cases.preparation import Preparation
from daemon.executor.cells.endings import CellFailed
from daemon.executor.content.drawing import Drawer
from daemon.executor.content.exports import Export
from daemon.executor.content.inputs import Secret
from daemon.executor.content.wiring import (
    CannotWire,
    Logical,
    Wiring,
    logical_from_io,
    pair_inputs,
    tensor_shape,
    wire_call,
    wire_io,
    wire_like,
    wire_tree,
)
from daemon.executor.timing.side import SidePlace
from daemon.verdict import Phase, Side, Verdict

_QUICK_S = 1.0  # to make as many inputs once more as have been made
_SMALL = 64 << 20  # bytes of one call's inputs: with larger ones calls take so long that it does not matter


class Hookup:
    """Joins the kernels of `ready` to arenas. `connect` once: `places` holds one per running side, until `close`."""

    def __init__(self, ready: Preparation, request: Request, secret: Secret) -> None:
        self._ready = ready
        self._request = request
        self._secret = secret
        self._deadline = 0.0
        self._goes_on = secret.device != "cpu"  # a CPU is done with a call when all of it has been launched
        self._reference_worked_s: float | None = None
        self._accumulators: dict[str, int] = {}
        self._made_apart = False  # or that has been tried
        self.places: dict[Side, SidePlace] = {}
        self.reference_draws = False  # random numbers in its call, as its cell says

    def connect(self, deadline: float) -> Drawer:
        """Decide what both sides are called with and learn how they answer, by `deadline` (monotonic). Raises
        `CannotWire` and `CellFailed`."""
        self._deadline = deadline
        logicals, source = self._logical_inputs()
        wirings = self._wirings(logicals, source)
        drawer = Drawer(logicals, self._secret, source)
        for side, wiring in wirings.items():
            place = SidePlace(self._ready.cells[side], wiring, self._secret.device, self._ready.patience(side))
            self.places[side] = place
            if self._ready.backend(side).answers == "either":
                self._discover_answer(place, drawer)
            if not place.wiring.answer:
                raise _wrong(side, "the kernel has no outputs: nothing can be judged")
        if Side.REFERENCE in self.places:
            self._keep_changed_args()
            problem = mismatch(self.places[Side.CANDIDATE], self.places[Side.REFERENCE])
            if problem is not None:
                raise problem
        return drawer

    def have_inputs_made_apart(self, drawer: Drawer) -> None:
        """From now on another process than the timed reference's makes its inputs, where its source does, quickly, and
        they are small. For calls one by one: no cell may run between the making of contents and the clock, so each
        meets its calls as cold as it is then.

        A reference that had made the contents itself was awake. On a GPU candidates that were its equals looked 13 %
        slower, in rounds of 5 ms; on a CPU, where the making wears it out, up to 2 % faster.
        """
        own = drawer.source
        if own is None or self._made_apart or len(self._ready.sides) == 1:
            return
        self._made_apart = True
        if own.set_bytes > _SMALL or own.asked * drawer.cost_s > _QUICK_S:
            return
        if (maker := self._ready.start_maker()) is None:
            return
        made, seed = self._ready.export(maker, "inputs", Phase.INPUTS), self._secret.seed("shape")
        with suppress(CellFailed, CannotWire):
            made.describe(seed, self._deadline)
            if made.describes_like(own):
                made.catch_up(own, seed, self._deadline)
                drawer.source = made
                return
        self._ready.dismiss_maker()

    def _keep_changed_args(self) -> None:
        """If one side returns its answer, arguments that both sides say they change are compared besides."""
        wirings = [place.wiring for place in self.places.values()]
        names = frozenset.intersection(*(frozenset(wiring.changed_args) for wiring in wirings))
        like = next((wiring for wiring in wirings if not wiring.returns), None)
        for place in self.places.values():
            if names and place.wiring.returns:
                place.wiring = place.wiring.with_kept(names, like)

    def _logical_inputs(self) -> tuple[list[Logical], Export | None]:
        """The inputs of both sides. They come from the reference's io, else its get_inputs(), else the candidate's io,
        else what a signature suggests."""
        static = frozenset(self._request.static_args)
        reference_io, candidate_io = self._ready.io(Side.REFERENCE), self._ready.io(Side.CANDIDATE)
        if reference_io is not None:
            return logical_from_io(_inputs_only(reference_io), static), None
        maker = self._ready.maker or self._ready.cells.get(Side.REFERENCE)
        source = self._ready.loaded[self._ready.sides[0]]
        if maker is not None and source.makes_inputs and not (source.guesses_inputs and candidate_io is not None):
            if source.guesses_inputs:
                self._ready.notes.append("no get_inputs() and no io: inputs were derived from the signature")
            export = self._ready.export(maker, "inputs", Phase.INPUTS)
            export.describe(self._secret.seed("shape"), self._deadline)
            named = zip(export.names(), export.shapes, strict=True)
            return [Logical(name, shape, None) for name, shape in named], export
        if candidate_io is not None:
            return logical_from_io(_inputs_only(candidate_io), static), None
        raise CannotWire(
            "nothing says what to call the kernel with: add get_inputs() to the source or io to the contract"
        )

    def _wirings(self, logicals: list[Logical], source: Export | None) -> dict[Side, Wiring]:
        """The reference's first: outputs that start with content add to `logicals`."""
        by_name = {item.name: index for index, item in enumerate(logicals)}
        wirings: dict[Side, Wiring] = {}
        if Side.REFERENCE in self._ready.sides:
            wirings[Side.REFERENCE] = self._reference_wiring(by_name, logicals, source)
        wirings[Side.CANDIDATE] = self._candidate_wiring(by_name, logicals, source)
        return wirings

    def _reference_wiring(self, by_name: dict[str, int], logicals: list[Logical], source: Export | None) -> Wiring:
        """By its own io, by its get_inputs(), or with what the candidate's io says."""
        io, others = self._ready.io(Side.REFERENCE), self._ready.io(Side.CANDIDATE)
        if io is not None:
            return wire_io(io, self._content(io, by_name, logicals))
        if source is not None:
            return wire_tree(source.node, logicals)
        assert others is not None
        return wire_call(others, by_name, self._ready.loaded[Side.REFERENCE].parameters)

    def _candidate_wiring(self, by_name: dict[str, int], logicals: list[Logical], source: Export | None) -> Wiring:
        """By its own io, or by get_inputs(). A Python candidate without io is called as the reference is, and its
        outputs are returned or written."""
        io, others = self._ready.io(Side.CANDIDATE), self._ready.io(Side.REFERENCE)
        if io is not None:
            content = by_name if len(self._ready.sides) == 1 else pair_inputs(io, logicals)
            return wire_io(io, self._content(io, content, logicals))
        if source is not None:
            return wire_tree(source.node, logicals)
        assert others is not None
        content = self._content(others, by_name, logicals)
        return wire_like(others, content, self._ready.loaded[Side.CANDIDATE].parameters)

    def _content(self, io: IOContract, content: dict[str, int], logicals: list[Logical]) -> dict[str, int]:
        """Add outputs that start with given content (accumulators): a logical input of their own, or the other side's
        of the same name where that is given the same."""
        content = {
            name: index for name, index in content.items() if any(a.name == name and a.is_input for a in io.args)
        }
        for arg in io.args:
            spec = arg.tensor_spec
            if spec is not None and not arg.is_input and (spec.init is not None or spec.data is not None):
                known = self._accumulators.get(arg.name)
                if known is None or logicals[known].spec != spec:
                    known = self._accumulators[arg.name] = len(logicals)
                    logicals.append(Logical(arg.name, tensor_shape(spec), spec, static=True))
                content[arg.name] = known
        return content

    def _discover_answer(self, place: SidePlace, drawer: Drawer) -> None:
        """Call once to learn what comes back: the nesting, shapes and dtypes of the answer."""
        arena = place.attach(1, phase=Phase.CHECK, deadline=self._deadline)
        arena.compose(self._secret.generator("discover"), [0])
        place.fill([0], drawer.draw("discover", 0, [0], deadline=self._deadline))
        place.hand_over([0])
        export = self._ready.export(place.cell, "outputs", Phase.CHECK)
        try:
            export.describe(self._secret.seed("discover"), self._deadline, launched_s=self._launched_s(place))
        except CannotWire as problem:
            raise _wrong(place.cell.side, f"the answer: {problem}") from problem
        if place.cell.side is Side.REFERENCE:
            self.reference_draws = export.draws
            if place.cell.launched_at is not None:
                self._reference_worked_s = time.monotonic() - place.cell.launched_at
        if export.returned:
            _require_all(place, len(export.shapes))
            place.wiring = place.wiring.with_returned(export.node, export.shapes)

    def _launched_s(self, place: SidePlace) -> float | None:
        """How long the device may be at work on this very first call. For a candidate, as long as the reference's call
        was worth, if that is known."""
        if not self._goes_on:
            return None
        if place.cell.side is Side.REFERENCE or self._reference_worked_s is None:
            return math.inf
        return place.patience.worth_s(self._reference_worked_s)

    def close(self) -> None:
        """Let go of the arenas. The cells must be dead."""
        for place in self.places.values():
            place.close()


def _require_all(place: SidePlace, returned: int) -> None:
    """Raises `CellFailed` where a kernel returns fewer answers than its contract has outputs: nobody would look at what
    it wrote instead."""
    wiring = place.wiring
    outputs = [wiring.fields[index].name for index in wiring.output_args if wiring.fields[index].logical is None]
    if returned < len(outputs):
        message = f"has the outputs {', '.join(outputs)} and returns {returned}: return all of them, or None"
        raise _wrong(place.cell.side, message)


def _wrong(side: Side, message: str) -> CellFailed:
    return CellFailed(Verdict.WRONG_ANSWER, Failure(phase=Phase.CHECK, side=side, message=message))


def _inputs_only(io: IOContract) -> IOContract:
    """Without pure outputs: those that start with content get theirs from `Hookup._content`."""
    return io.model_copy(update={"args": tuple(arg for arg in io.args if arg.is_input)})
