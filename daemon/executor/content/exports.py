"""Tensors that leave a cell: inputs its get_inputs() made, constructor arguments, state, answers."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import torch

from daemon.executor.cells.capture import printable
from daemon.executor.cells.conversation import Cell
from daemon.executor.content.memory import SharedMemory, share
from daemon.executor.content.wiring import CannotWire, made_name
from daemon.executor.shared import tree
from daemon.executor.shared.layout import EXPORT_STEP, TensorShape, aligned
from daemon.executor.shared.protocol import Message
from daemon.verdict import Phase

_UNMAPPING_S = 60.0
_KEPT_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # shared memory that is kept for the next round
_SETS_AT_ONCE = 16
_MAX_RANK = 64
_MAX_EXTENT = 1 << 48
_AT_ONCE, _AT_FIRST = 1 << 20, 4096  # elements
_ONLY_CONTENT = (
    "Only the content of tensors may: make a number that changes a tensor, torch.tensor(…); keep sizes, or give each "
    "size a case of the contract"
)


class StagingBuffer:
    """The memory by which tensors leave one cell, whatever they are. It is kept, because on a GPU mapping takes as long
    as drawing what goes into it. It grows when it has to."""

    def __init__(self, cell: Cell, device: str) -> None:
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

    The cell is frozen after each answer, because it must not run while another one is measured.
    """

    def __init__(
        self,
        buffer: StagingBuffer,
        what: str,
        limit_bytes: int,
        phase: Phase = Phase.INPUTS,
        *,
        only: Sequence[str] | None = None,
    ) -> None:
        """`only`: of the state, those of these names."""
        self._buffer = buffer
        self._only = None if only is None else list(only)
        self._what = what
        self._limit_bytes = limit_bytes
        self._phase = phase
        self.shapes: list[TensorShape] = []
        self.node: tree.Node = {}
        self.returned = True
        self.draws = False  # random numbers: of outputs
        self.asked = 0  # how often the cell has made what is described

    def describe(self, seed: int, deadline: float, *, launched_s: float | None = None) -> None:
        """Ask what there is: nesting, shapes and dtypes. `launched_s`: for outputs, how long the device may be at work
        on the call once all of it is launched."""
        message: Message = {"type": "export", "what": self._what, "seed": seed, "only": self._only}
        message["announce"] = launched_s is not None
        self.asked += 1
        answer = self._request(message, "exported", deadline, launched_s=launched_s)
        if isinstance(refused := answer.get("refused"), str):
            raise CannotWire(printable(refused[:500]))
        node, shapes = _checked(answer, self._limit_bytes, named=self._what not in ("outputs", "exact"))
        if not _is_for(self._what, node):
            raise CannotWire(f"what its process says of {self._what} is nothing that another one could take")
        self.node, self.shapes = node, shapes
        self.returned = bool(answer.get("returned", True))
        self.draws = answer.get("draws") is True

    def describes_like(self, other: Export) -> bool:
        """Whether what was described is nested alike and as large."""
        return (self.node, self.shapes) == (other.node, other.shapes)

    def sets(self, seeds: list[int], deadline: float) -> list[torch.Tensor]:
        """The tensors of one set per seed, all as described: private copies, [seeds, *shape] each."""
        size = self.set_bytes
        memory = self._buffer.having(size * len(seeds), self._phase)
        self.asked += len(seeds)
        answer = self._request({"type": "produce", "seeds": seeds}, "produced", deadline, memory)
        if answer.get("same") is not True:
            where = answer.get("where")
            told = f": {printable(where[:500])}" if isinstance(where, str) and where else ""
            raise CannotWire(f"{self._what} changed from one call to the next{told}. {_ONLY_CONTENT}")
        tensors = self._stacked(memory.bytes[: size * len(seeds)].view(len(seeds), size))
        self._buffer.trim(self._phase)
        return tensors

    def catch_up(self, other: Export, seed: int, deadline: float) -> None:
        """Have the cell make sets for nobody until it has made as many as the one of `other`: a source may draw from a
        generator of its own, and would begin again."""
        while (behind := other.asked - self.asked) > 0:
            self.sets([seed] * min(behind, _SETS_AT_ONCE), deadline)

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

    @property
    def set_bytes(self) -> int:
        """What one set of the described tensors takes on its way out."""
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
        cell = self._buffer.cell
        answer = cell.request(message, expected, phase=self._phase, deadline=deadline, fds=fds, launched_s=launched_s)
        cell.freeze()
        return answer

    def fetch(self, deadline: float) -> SharedMemory:
        """The described tensors, 64 bytes apart, in memory that this cell never sees again. So it may go to another
        cell."""
        size = self.set_bytes
        written = self._written(deadline)
        copy = share(self._buffer.device, size)
        copy.bytes[:size].copy_(written.bytes[:size])
        if self._buffer.device != "cpu":  # the copy is queued, and whoever gets it may read at once
            torch.cuda.synchronize()
        return copy

    def names(self) -> list[str]:
        """What the tensors are called as inputs."""
        inside = {index: printable(place) for place, index in tree.leaves(self.node, "") if place.count("[") > 1}
        return [made_name(number, inside.get(number, "")) for number in range(len(self.shapes))]

    def constant(self, memory: SharedMemory) -> dict[str, bytes]:
        """Where, in the described nesting, floating-point tensors stand that have one value only, and the value's
        bytes. A single number counts if it is 0 or 1. `memory`: from `fetch`."""
        found: dict[str, bytes] = {}
        offset = 0
        places = {index: place for place, index in tree.leaves(self.node, "")}
        for index, shape in enumerate(self.shapes):
            dtype = getattr(torch, shape.dtype)
            if shape.count and dtype.is_floating_point:
                values = memory.bytes[offset : offset + shape.size_bytes].view(-1, dtype.itemsize)
                is_usual = shape.count > 1 or float(values.view(dtype)) in (0.0, 1.0)
                starts = range(0, shape.count, _AT_ONCE)
                pieces = itertools.chain([values[:_AT_FIRST]], (values[start : start + _AT_ONCE] for start in starts))
                if is_usual and all(bool((piece == values[0]).all()) for piece in pieces):
                    found[places[index].strip("[]'")] = bytes(values[0].tolist())
            offset += _padded(shape) if shape.count else 0
        return found

    def tensors(self, deadline: float) -> list[torch.Tensor]:
        """Private copies of the described tensors."""
        size = self.set_bytes
        return [stack.squeeze(0) for stack in self._stacked(self._written(deadline).bytes[:size].view(1, size))]

    def _written(self, deadline: float) -> SharedMemory:
        """The memory between us, the described tensors in it."""
        memory = self._buffer.having(self.set_bytes, self._phase)
        self._request({"type": "write"}, "written", deadline, memory)
        return memory

    def as_message(self) -> Message:
        """How the tensors lie, for the cell that gets them."""
        return {"tensors": [{"dtype": shape.dtype, "shape": list(shape.shape)} for shape in self.shapes]}


def _padded(shape: TensorShape) -> int:
    return aligned(shape.size_bytes, EXPORT_STEP)


def _checked(answer: Message, limit_bytes: int, *, named: bool) -> tuple[tree.Node, list[TensorShape]]:
    """What a cell said about its tensors, as far as it can be used. Raises `CannotWire`."""
    try:
        shapes = [_shape(item) for item in answer["tensors"][: tree.MAX_LEAVES + 1]]
        places = tree.leaves(answer["tree"], named=named)
        tree.require_values(answer["tree"])
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


def _is_for(what: str, node: tree.Node) -> bool:
    """Whether a tree has the form in which `what` is handed to another cell: a constructor's arguments in a list, or in
    a dict by name; a state as tensors by name."""
    pairs = node.get("d", ())
    if what == "init":
        return "l" in node or "u" in node or ("d" in node and all(isinstance(key, str) for key, _ in pairs))
    return what != "state" or ("d" in node and all("t" in item for _, item in pairs))


def _shape(item: Message) -> TensorShape:
    extents = tuple(int(extent) for extent in item["shape"])
    if len(extents) > _MAX_RANK or not all(0 <= extent < _MAX_EXTENT for extent in extents):
        raise ValueError("a shape no tensor has")
    shape = TensorShape(str(item["dtype"]), extents)
    if math.prod(max(extent, 1) for extent in extents) >= _MAX_EXTENT or shape.size_bytes >= _MAX_EXTENT:
        raise ValueError("more elements than any memory holds")
    return shape
