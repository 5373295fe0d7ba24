"""Fresh content for every slot of every round: from the contract's init, or from the source's own get_inputs in its
own cell."""

from __future__ import annotations

import itertools
import math
import time

import torch

from daemon.executor import tree
from daemon.executor.arena import lanes
from daemon.executor.capture import printable
from daemon.executor.conversation import Cell
from daemon.executor.inputs import Secret, draw, is_fixed
from daemon.executor.layout import TensorShape, aligned
from daemon.executor.memory import SharedMemory, share
from daemon.executor.protocol import Message
from daemon.executor.wiring import CannotWire, Logical
from daemon.verdict import Phase

_EXPORT_STEP = 64
_UNMAPPING_S = 60.0
_KEPT_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # shared memory that is kept for the next round
_MAX_RANK = 64
_SETS_LOOKED_AT = 256
_MAX_EXTENT = 1 << 48
_AT_ONCE = 1 << 20  # elements
_COLUMNS = 16381  # a prime: rows of a matrix that trade places do not stay in their columns
_TELLING = 4096


class Drawer:
    """Draws all logical inputs of one case. Trial 0 of the check uses the seeds the contract names, and so does what
    stays the same throughout; everything else is secret."""

    def __init__(self, logicals: list[Logical], secret: Secret, source: Export | None) -> None:
        self._logicals = logicals
        self._secret = secret
        self._source = source
        self._kept: dict[int, torch.Tensor] = {}
        self._first: list[int] = []
        self._varying: set[int] = set()
        self._sets_seen: set[tuple[int, ...]] = set()
        self._sets_looked_at = 0
        self._known: set[tuple[str, int, int]] = set()
        self.cost_s = 0.0

    @property
    def logicals(self) -> list[Logical]:
        return self._logicals

    def is_secret(self, index: int) -> bool:
        """Whether the content changes from call to call in a way a kernel cannot know.

        What a source draws counts as secret only once two draws differed: get_inputs() may ignore the seed it is given.
        """
        logical = self._logicals[index]
        if logical.spec is None:
            return index in self._varying
        return not _is_constant(logical)

    @property
    def repeats(self) -> bool:
        """Whether a set of inputs was drawn that had been drawn before, and not only one set for ever."""
        return 1 < len(self._sets_seen) < self._sets_looked_at

    @property
    def unchanging(self) -> list[str]:
        """Tensors that the source has drawn the same every time, beside others that it has not. One number alone is
        more of a setting."""
        if not self._varying:
            return []
        left = [item for index, item in enumerate(self._logicals) if index not in self._varying]
        return [item.name for item in left if item.spec is None and item.tensor.count > 1]

    def draw(self, purpose: str, number: int, slots: list[int], *, deadline: float) -> list[torch.Tensor]:
        """Every logical input for every slot: one tensor [slots, *shape] each, of constants an expanded one.

        Equal arguments give equal content within one evaluation; what a source draws goes by the slot, what we draw by
        its place among them. `cost_s`: seconds per slot.
        """
        start = time.perf_counter()
        drawn = self._from_source(purpose, number, slots, deadline) if self._source else []
        # Outputs that start with given content come after what the source makes.
        drawn += [self._from_spec(i, purpose, number, len(slots)) for i in range(len(drawn), len(self._logicals))]
        self.cost_s = (time.perf_counter() - start) / len(slots)
        self._note_sets(drawn, [(purpose, number, name) for name in (slots if self._source else range(len(slots)))])
        return drawn

    def _from_source(self, purpose: str, number: int, slots: list[int], deadline: float) -> list[torch.Tensor]:
        assert self._source is not None
        return self._source.sets([self._secret.seed("inputs", purpose, number, slot) for slot in slots], deadline)

    def _note_sets(self, drawn: list[torch.Tensor], names: list[tuple[str, int, int]]) -> None:
        """Compare what was drawn with what was drawn before. `names`: what each set was drawn for; the same has the
        same content. What does not change by the contract itself is left out."""
        if self._sets_looked_at >= _SETS_LOOKED_AT:
            return
        changing = [index for index, logical in enumerate(self._logicals) if not _is_constant(logical)]
        if not changing:
            return
        sums = [_checksums(self._telling(index, drawn[index])) for index in changing]
        fresh = [position for position, name in enumerate(names) if name not in self._known]
        self._known.update(names)
        self._sets_seen.update(tuple(found[position] for found in sums) for position in fresh)
        self._sets_looked_at += len(fresh)
        self._first = self._first or [found[0] for found in sums]
        for index, first, found in zip(changing, self._first, sums, strict=True):
            if set(found) != {first}:
                self._varying.add(index)

    def _telling(self, index: int, tensors: torch.Tensor) -> torch.Tensor:
        """What two sets differ in if they differ at all: of numbers that we draw at random, some thousands."""
        return tensors if self._logicals[index].spec is None else tensors.reshape(tensors.shape[0], -1)[:, :_TELLING]

    def _from_spec(self, index: int, purpose: str, number: int, count: int) -> torch.Tensor:
        logical = self._logicals[index]
        spec = logical.spec
        assert spec is not None  # otherwise the source draws it
        declared = spec.init.seed if spec.init else None
        if declared is not None and (logical.static or (purpose == "check" and number == 0)):
            generator = torch.Generator(self._secret.device).manual_seed(declared)
        else:
            generator = self._secret.generator("input", purpose, number, index)
        if not _is_constant(logical):
            return draw(spec, generator, count)
        if index not in self._kept:
            self._kept[index] = draw(spec, generator)
        return self._kept[index].expand(count, *spec.dims)


def _is_constant(logical: Logical) -> bool:
    """Whether the contract itself says that the content stays the same."""
    return logical.spec is not None and (logical.static or is_fixed(logical.spec))


def _checksums(tensors: torch.Tensor) -> list[int]:
    """One number per slot: equal for equal bits, for others different but by chance, also where they only lie in
    another order. Keeping the tensors to compare them would double them; they are read once."""
    rows = tensors.reshape(tensors.shape[0], -1)
    if not rows.numel():
        return [0] * rows.shape[0]
    words = lanes(rows.contiguous().view(torch.uint8))
    columns = min(words.shape[1], _COLUMNS)
    whole = words.shape[1] // columns * columns
    sums = words[:, :whole].view(words.shape[0], -1, columns).sum(dim=1, dtype=torch.int64)
    sums[:, : words.shape[1] - whole] += words[:, whole:]
    generator = torch.Generator(rows.device).manual_seed(0)
    factors = torch.randint(-(2**63), 2**63 - 1, (columns,), generator=generator, device=rows.device) | 1
    totals: list[int] = (sums * factors).sum(dim=1).tolist()
    return totals


class Exchange:
    """The memory by which tensors leave one cell, whatever they are: on a GPU mapping it takes as long as drawing what
    goes into it. It is larger from then on where it has to be."""

    def __init__(self, cell: Cell, device: str = "cpu") -> None:
        self.cell = cell
        self.device = device
        self._memory: SharedMemory | None = None

    def having(self, size_bytes: int, phase: Phase) -> SharedMemory:
        """With room for so much."""
        if self._memory is None or self._memory.bytes.numel() < size_bytes:
            self._let_go(phase)
            self._memory = share(self.device, size_bytes)
        return self._memory

    def trim(self, phase: Phase) -> None:
        """Keep it for the next round where that is not too much to keep."""
        if self._memory is not None and self._memory.bytes.numel() > _KEPT_BYTES[self.device]:
            self._let_go(phase)

    def _let_go(self, phase: Phase) -> None:
        """Give the memory back, which the cell may have mapped still."""
        if self._memory is not None and self.device != "cpu":
            self.cell.request({"type": "let_go"}, "let_go", phase=phase, deadline=time.monotonic() + _UNMAPPING_S)
            self.cell.freeze()
        self.close()

    def close(self) -> None:
        """Let go of the memory. The cell must be dead, or have let go of it."""
        if self._memory is not None:
            self._memory.close()
            self._memory = None


class Export:
    """Tensors out of a cell through shared memory: inputs, constructor arguments, state. Sizes are checked before any
    memory is made.

    The cell is frozen after each answer: while another one is measured it must not run.
    """

    def __init__(self, exchange: Exchange, what: str, limit_bytes: int, phase: Phase = Phase.INPUTS) -> None:
        self._exchange = exchange
        self._what = what
        self._limit_bytes = limit_bytes
        self._phase = phase
        self.shapes: list[TensorShape] = []
        self.node: tree.Node = {}
        self.returned = True

    def describe(self, seed: int, deadline: float, *, launched_s: float | None = None) -> None:
        """Ask what there is: its nesting, shapes and dtypes. `launched_s`: of outputs, how long the device may be at
        work on the call once all of it is launched."""
        message: Message = {"type": "export", "what": self._what, "seed": seed, "announce": launched_s is not None}
        answer = self._request(message, "exported", deadline, launched_s=launched_s)
        if isinstance(refused := answer.get("refused"), str):
            raise CannotWire(printable(refused[:500]))
        node, shapes = _checked(answer, self._limit_bytes, named=self._what not in ("outputs", "exact"))
        self.node, self.shapes = node, shapes
        self.returned = bool(answer.get("returned", True))

    def sets(self, seeds: list[int], deadline: float) -> list[torch.Tensor]:
        """The tensors of one set per seed, all as described: private copies, [seeds, *shape] each."""
        size = self._set_bytes()
        memory = self._exchange.having(size * len(seeds), self._phase)
        answer = self._request({"type": "produce", "seeds": seeds}, "produced", deadline, memory)
        if answer.get("same") is not True:
            raise CannotWire(f"{self._what} changed shapes, or values that are no tensors, from one call to the next")
        tensors = self._stacked(memory.bytes[: size * len(seeds)].view(len(seeds), size))
        self._exchange.trim(self._phase)
        return tensors

    def _stacked(self, sets: torch.Tensor) -> list[torch.Tensor]:
        """Copies out of rows of bytes, one row a set."""
        found, offset = [], 0
        for shape in self.shapes:
            if not shape.count:
                empty = (sets.shape[0], *shape.shape)
                found.append(torch.empty(empty, dtype=getattr(torch, shape.dtype), device=sets.device))
                continue
            part = sets[:, offset : offset + shape.size_bytes].contiguous()
            part = part.clone() if part.data_ptr() == sets[:, offset:].data_ptr() else part
            found.append(part.view(getattr(torch, shape.dtype)).reshape(sets.shape[0], *shape.shape))
            offset += _padded(shape)
        return found

    def _set_bytes(self) -> int:
        return sum(_padded(shape) for shape in self.shapes)

    def _request(
        self,
        message: Message,
        expected: str,
        deadline: float,
        memory: SharedMemory | None = None,
        *,
        launched_s: float | None = None,
    ) -> Message:
        fds = memory.fds if memory else ()
        if memory is not None:
            message = message | {"memory": memory.as_message()}
        cell = self._exchange.cell
        answer = cell.request(message, expected, phase=self._phase, deadline=deadline, fds=fds, launched_s=launched_s)
        cell.freeze()
        return answer

    def fetch(self, deadline: float) -> SharedMemory:
        """The described tensors, 64 bytes apart, in memory that this cell never sees again: it may go to another
        one."""
        size = self._set_bytes()
        written = self._written(deadline)
        copy = share(self._exchange.device, size)
        copy.bytes[:size].copy_(written.bytes[:size])
        if self._exchange.device != "cpu":  # the copy is queued, and whoever gets it may read at once
            torch.cuda.synchronize()
        return copy

    def constant(self, memory: SharedMemory) -> list[str]:
        """Where, in the described nesting, floating-point tensors stand that have one value only: no other values will
        ever tell whether it matters. Of single numbers 0 and 1 are meant. `memory`: from `fetch`."""
        found, offset = [], 0
        places = {index: place for place, index in tree.leaves(self.node, "")}
        for index, shape in enumerate(self.shapes):
            dtype = getattr(torch, shape.dtype)
            if shape.count and dtype.is_floating_point:
                values = memory.bytes[offset : offset + shape.size_bytes].view(-1, dtype.itemsize)
                is_usual = shape.count > 1 or float(values.view(dtype)) in (0.0, 1.0)
                starts = range(0, shape.count, _AT_ONCE)
                pieces = itertools.chain([values[:_TELLING]], (values[start : start + _AT_ONCE] for start in starts))
                if is_usual and all(bool((piece == values[0]).all()) for piece in pieces):
                    found.append(places[index].strip("[]'"))
            offset += _padded(shape) if shape.count else 0
        return found

    def tensors(self, deadline: float) -> list[torch.Tensor]:
        """Private copies of the described tensors."""
        size = self._set_bytes()
        return [stack.squeeze(0) for stack in self._stacked(self._written(deadline).bytes[:size].view(1, size))]

    def _written(self, deadline: float) -> SharedMemory:
        """The memory between us, the described tensors in it."""
        memory = self._exchange.having(self._set_bytes(), self._phase)
        self._request({"type": "write"}, "written", deadline, memory)
        return memory

    def as_message(self) -> Message:
        """How the tensors lie, for the cell that gets them."""
        return {"tensors": [{"dtype": shape.dtype, "shape": list(shape.shape)} for shape in self.shapes]}


def _padded(shape: TensorShape) -> int:
    return aligned(shape.size_bytes, _EXPORT_STEP)


def _checked(answer: Message, limit_bytes: int, *, named: bool) -> tuple[tree.Node, list[TensorShape]]:
    """What a cell said about its tensors, as far as it can be used. Raises `CannotWire`."""
    try:
        shapes = [_shape(item) for item in answer["tensors"][: tree.MAX_LEAVES + 1]]
        places = tree.leaves(answer["tree"], named=named)
    except KeyError as error:
        raise CannotWire(f"tensors of dtype {str(error)[:80]} cannot be carried") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise CannotWire(f"tensors that cannot be carried: {type(error).__name__}: {str(error)[:200]}") from error
    total = sum(shape.size_bytes for shape in shapes)
    if total > limit_bytes:
        raise CannotWire(f"tensors of {total} bytes; {limit_bytes} are allowed")
    if sorted(index for _, index in places) != list(range(len(shapes))):
        raise CannotWire("a nesting that does not match its tensors")
    return answer["tree"], shapes


def _shape(item: Message) -> TensorShape:
    extents = tuple(int(extent) for extent in item["shape"])
    if len(extents) > _MAX_RANK or not all(0 <= extent < _MAX_EXTENT for extent in extents):
        raise ValueError("a shape no tensor has")
    shape = TensorShape(str(item["dtype"]), extents)
    if math.prod(max(extent, 1) for extent in extents) >= _MAX_EXTENT or shape.size_bytes >= _MAX_EXTENT:
        raise ValueError("more elements than any memory holds")
    return shape
