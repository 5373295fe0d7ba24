"""Fresh content for every slot of every round: from the contract's init, or from the source's own get_inputs in its own cell."""

from __future__ import annotations

import time

import torch

from daemon.executor import tree
from daemon.executor.arena import SharedMemory
from daemon.executor.cells import Cell
from daemon.executor.inputs import Secret, draw, is_fixed
from daemon.executor.layout import TensorShape
from daemon.executor.protocol import Message
from daemon.executor.wiring import CannotWire, Logical
from daemon.verdict import Phase

_EXPORT_STEP = 64


class Drawer:
    """Draws all logical inputs of one case. Trial 0 of the check uses the seeds the contract names; everything else is secret."""

    def __init__(self, logicals: list[Logical], secret: Secret, source: Export | None) -> None:
        self._logicals = logicals
        self._secret = secret
        self._source = source
        self._kept: dict[int, torch.Tensor] = {}
        self.cost_s = 0.0

    @property
    def logicals(self) -> list[Logical]:
        return self._logicals

    def is_secret(self, index: int) -> bool:
        """Whether the content changes from call to call in a way a kernel cannot know."""
        logical = self._logicals[index]
        return not logical.static and (logical.spec is None or not is_fixed(logical.spec))

    def draw(self, purpose: str, number: int, slot: int, *, deadline: float) -> list[torch.Tensor]:
        """One set of inputs. Equal arguments give equal content within one evaluation."""
        start = time.perf_counter()
        drawn = self._from_source(purpose, number, slot, deadline) if self._source else {}
        values = [
            drawn[index] if index in drawn else self._from_spec(index, purpose, number, slot)
            for index in range(len(self._logicals))
        ]
        self.cost_s = time.perf_counter() - start
        return values

    def _from_source(self, purpose: str, number: int, slot: int, deadline: float) -> dict[int, torch.Tensor]:
        assert self._source is not None
        tensors = self._source.tensors(self._secret.seed("inputs", purpose, number, slot), deadline)
        return dict(enumerate(tensors))

    def _from_spec(self, index: int, purpose: str, number: int, slot: int) -> torch.Tensor:
        if index in self._kept:
            return self._kept[index]
        logical = self._logicals[index]
        assert logical.spec is not None
        declared = logical.spec.init.seed if logical.spec.init else None
        if purpose == "check" and number == 0 and declared is not None:
            generator = torch.Generator().manual_seed(declared)
        else:
            generator = self._secret.generator("input", purpose, number, slot, index)
        value = draw(logical.spec, generator)
        if logical.static or is_fixed(logical.spec):
            self._kept[index] = value
        return value


class Export:
    """Tensors out of a cell through a memfd: inputs, constructor arguments, state. Sizes are checked before any memory is made.

    The cell is frozen after each answer: while another one is measured it must not run.
    """

    def __init__(self, cell: Cell, what: str, limit_bytes: int, phase: Phase = Phase.INPUTS) -> None:
        self._cell = cell
        self._what = what
        self._limit_bytes = limit_bytes
        self._phase = phase
        self._memory: SharedMemory | None = None
        self.shapes: list[TensorShape] = []
        self.node: tree.Node = {}
        self.returned = True

    def describe(self, seed: int, deadline: float) -> None:
        """Ask what there is. The first answer fixes shapes and nesting for good."""
        answer = self._cell.request(
            {"type": "export", "what": self._what, "seed": seed}, "exported", phase=self._phase, deadline=deadline
        )
        self._cell.freeze()
        node, shapes = _checked(answer, self._limit_bytes)
        if self.node and (node, shapes) != (self.node, self.shapes):
            raise CannotWire(
                f"{self._what} changed their shapes or values that are no tensors from one call to the next"
            )
        self.node, self.shapes = node, shapes
        self.returned = bool(answer.get("returned", True))

    def tensors(self, seed: int, deadline: float) -> list[torch.Tensor]:
        """Describe again with `seed`, then fetch: private copies."""
        self.describe(seed, deadline)
        memory = self.fetch(deadline)
        found, offset = [], 0
        for shape in self.shapes:
            part = memory.bytes[offset : offset + shape.size_bytes].clone()
            found.append(part.view(getattr(torch, shape.dtype)).reshape(shape.shape))
            offset += -(-shape.size_bytes // _EXPORT_STEP) * _EXPORT_STEP
        return found

    def fetch(self, deadline: float) -> SharedMemory:
        """The described tensors in shared memory, 64 bytes apart, to read or to pass on to another cell."""
        if self._memory is None:
            total = sum(-(-shape.size_bytes // _EXPORT_STEP) * _EXPORT_STEP for shape in self.shapes)
            self._memory = SharedMemory(total)
        self._cell.request({"type": "write"}, "written", phase=self._phase, deadline=deadline, fds=(self._memory.fd,))
        self._cell.freeze()
        return self._memory

    def as_message(self) -> Message:
        """How the tensors lie, for the cell that gets them."""
        return {"tensors": [{"dtype": shape.dtype, "shape": list(shape.shape)} for shape in self.shapes]}

    def close(self) -> None:
        if self._memory is not None:
            self._memory.close()
            self._memory = None


def _checked(answer: Message, limit_bytes: int) -> tuple[tree.Node, list[TensorShape]]:
    """What a cell said about its tensors, as far as it can be used. Raises `CannotWire`."""
    try:
        shapes = [TensorShape(str(item["dtype"]), tuple(int(n) for n in item["shape"])) for item in answer["tensors"]]
        if any(extent < 0 for shape in shapes for extent in shape.shape):
            raise ValueError("negative extent")
        total = sum(shape.size_bytes for shape in shapes)
        places = tree.leaves(answer["tree"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CannotWire(f"tensors that cannot be carried: {type(error).__name__}: {error}") from error
    if total > limit_bytes:
        raise CannotWire(f"tensors of {total} bytes; {limit_bytes} are allowed")
    if sorted(index for _, index in places) != list(range(len(shapes))):
        raise CannotWire("a nesting that does not match its tensors")
    return answer["tree"], shapes
