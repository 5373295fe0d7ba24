"""Fresh content for every slot of every round: from the contract's init, or from the source's own get_inputs in its
own cell."""

from __future__ import annotations

import time

import torch

from daemon.executor import tree
from daemon.executor.arena import raw
from daemon.executor.cells import Cell
from daemon.executor.inputs import Secret, draw, is_fixed
from daemon.executor.layout import TensorShape, aligned
from daemon.executor.memory import SharedMemory, share
from daemon.executor.protocol import Message
from daemon.executor.wiring import CannotWire, Logical
from daemon.verdict import Phase

_EXPORT_STEP = 64
_KEPT_BYTES = 1 << 30  # shared memory that is kept for the next round
_MAX_RANK = 64
_MAX_EXTENT = 1 << 48


class Drawer:
    """Draws all logical inputs of one case. Trial 0 of the check uses the seeds the contract names; everything else
    is secret."""

    def __init__(self, logicals: list[Logical], secret: Secret, source: Export | None) -> None:
        self._logicals = logicals
        self._secret = secret
        self._source = source
        self._kept: dict[int, torch.Tensor] = {}
        self._first: list[int] = []
        self._varying: set[int] = set()
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
        return not logical.static and not is_fixed(logical.spec)

    def draw(self, purpose: str, number: int, slots: list[int], *, deadline: float) -> list[list[torch.Tensor]]:
        """One set of inputs per slot. Equal arguments give equal content within one evaluation. `cost_s`: seconds per
        set."""
        start = time.perf_counter()
        drawn = self._from_source(purpose, number, slots, deadline) if self._source else [[] for _ in slots]
        sets = [
            given or [self._from_spec(index, purpose, number, slot) for index in range(len(self._logicals))]
            for slot, given in zip(slots, drawn, strict=True)
        ]
        self.cost_s = (time.perf_counter() - start) / len(slots)
        return sets

    def _from_source(self, purpose: str, number: int, slots: list[int], deadline: float) -> list[list[torch.Tensor]]:
        """All logical inputs are the source's, save outputs that start with given content, which come after them."""
        assert self._source is not None
        seeds = [self._secret.seed("inputs", purpose, number, slot) for slot in slots]
        sets = self._source.sets(seeds, deadline)
        for tensors in sets:
            self._note_varying(tensors)
        count = len(sets[0])
        extra = range(count, len(self._logicals))
        return [tensors + [self._from_spec(index, purpose, number, 0) for index in extra] for tensors in sets]

    def _note_varying(self, tensors: list[torch.Tensor]) -> None:
        if len(self._varying) == len(tensors):
            return
        sums = [_checksum(tensor) for tensor in tensors]
        self._first = self._first or sums
        self._varying.update(
            index for index, pair in enumerate(zip(self._first, sums, strict=True)) if len(set(pair)) > 1
        )

    def _from_spec(self, index: int, purpose: str, number: int, slot: int) -> torch.Tensor:
        if index in self._kept:
            return self._kept[index]
        logical = self._logicals[index]
        assert logical.spec is not None  # otherwise the source draws it
        declared = logical.spec.init.seed if logical.spec.init else None
        if purpose == "check" and number == 0 and declared is not None:
            generator = torch.Generator(self._secret.device).manual_seed(declared)
        else:
            generator = self._secret.generator("input", purpose, number, slot, index)
        value = draw(logical.spec, generator)
        if logical.static or is_fixed(logical.spec):
            self._kept[index] = value
        return value


def _checksum(tensor: torch.Tensor) -> int:
    """Equal for equal bits; for fresh random ones different but by chance. Keeping the tensors would double them."""
    bits = raw(tensor).reshape(-1)
    return int(bits.sum(dtype=torch.int64)) if bits.numel() else 0


class Export:
    """Tensors out of a cell through shared memory: inputs, constructor arguments, state. Sizes are checked before any
    memory is made.

    The cell is frozen after each answer: while another one is measured it must not run.
    """

    def __init__(
        self, cell: Cell, what: str, limit_bytes: int, phase: Phase = Phase.INPUTS, *, device: str = "cpu"
    ) -> None:
        self._cell = cell
        self._device = device
        self._what = what
        self._limit_bytes = limit_bytes
        self._phase = phase
        self._memory: SharedMemory | None = None
        self.shapes: list[TensorShape] = []
        self.node: tree.Node = {}
        self.returned = True

    def describe(self, seed: int, deadline: float) -> None:
        """Ask what there is: its nesting, shapes and dtypes."""
        answer = self._request({"type": "export", "what": self._what, "seed": seed}, "exported", deadline)
        node, shapes = _checked(answer, self._limit_bytes)
        self.node, self.shapes = node, shapes
        self.returned = bool(answer.get("returned", True))

    def sets(self, seeds: list[int], deadline: float) -> list[list[torch.Tensor]]:
        """One set of tensors per seed, all as described: private copies."""
        size = self._set_bytes()
        self._reserve(size * len(seeds))
        assert self._memory is not None
        answer = self._request({"type": "produce", "seeds": seeds}, "produced", deadline, self._memory)
        if answer.get("same") is not True:
            raise CannotWire(f"{self._what} changed shapes, or values that are no tensors, from one call to the next")
        sets = [self._tensors_at(self._memory, number * size) for number in range(len(seeds))]
        if self._memory.bytes.numel() > _KEPT_BYTES:
            self.close()
        return sets

    def _tensors_at(self, memory: SharedMemory, offset: int) -> list[torch.Tensor]:
        found = []
        for shape in self.shapes:
            part = memory.bytes[offset : offset + shape.size_bytes].clone()
            found.append(part.view(getattr(torch, shape.dtype)).reshape(shape.shape))
            offset += _padded(shape)
        return found

    def _set_bytes(self) -> int:
        return sum(_padded(shape) for shape in self.shapes)

    def _reserve(self, size_bytes: int) -> None:
        if self._memory is None or self._memory.bytes.numel() < size_bytes:
            self.close()
            self._memory = share(self._device, size_bytes)

    def _request(self, message: Message, expected: str, deadline: float, memory: SharedMemory | None = None) -> Message:
        fds = memory.fds if memory else ()
        if memory is not None:
            message = message | {"memory": memory.as_message()}
        answer = self._cell.request(message, expected, phase=self._phase, deadline=deadline, fds=fds)
        self._cell.freeze()
        return answer

    def fetch(self, deadline: float) -> SharedMemory:
        """The described tensors, 64 bytes apart, in memory that this cell never sees again: it may go to another
        one."""
        self._reserve(self._set_bytes())
        assert self._memory is not None
        self._request({"type": "write"}, "written", deadline, self._memory)
        copy = share(self._device, self._memory.bytes.numel())
        copy.bytes.copy_(self._memory.bytes)
        return copy

    def as_message(self) -> Message:
        """How the tensors lie, for the cell that gets them."""
        return {"tensors": [{"dtype": shape.dtype, "shape": list(shape.shape)} for shape in self.shapes]}

    def close(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _padded(shape: TensorShape) -> int:
    return aligned(shape.size_bytes, _EXPORT_STEP)


def _checked(answer: Message, limit_bytes: int) -> tuple[tree.Node, list[TensorShape]]:
    """What a cell said about its tensors, as far as it can be used. Raises `CannotWire`."""
    try:
        shapes = [_shape(item) for item in answer["tensors"][: tree.MAX_LEAVES + 1]]
        places = tree.leaves(answer["tree"])
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
    if shape.size_bytes >= _MAX_EXTENT:
        raise ValueError("more elements than any memory holds")
    return shape
