"""Tensors out of a cell and into it, through memory that the judge shares with it for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import torch
from torch.nn.parameter import is_lazy

from daemon.executor.inside.leaves import leaf_of_answer, require_dense
from daemon.executor.inside.mapping import Mapping
from daemon.executor.shared import tree
from daemon.executor.shared.layout import EXPORT_STEP, ITEM_BYTES, aligned
from daemon.executor.shared.protocol import Message


class Exchange:
    """Of one cell on `device`. `under_tool`: it is looked at by one of NVIDIA's."""

    def __init__(self, device: str, *, under_tool: bool) -> None:
        self._device = device
        self._under_tool = under_tool
        self._leaving: list[torch.Tensor] = []
        self._mapped: tuple[int, Mapping] | None = None

    def describe(self, value: Any, *, as_answer: bool) -> tuple[tree.Node, list[Message]]:
        """The nesting of `value` and what its tensors are; they themselves are kept for `write`. `as_answer`: it is to
        be compared. Raises `tree.Incomparable`."""
        collector = _Collector(as_answer=as_answer, device=self._device)
        node = tree.encode(value, collector.leaf, named=not as_answer)
        self._leaving = collector.tensors
        return node, [{"dtype": _dtype_name(item), "shape": list(item.shape)} for item in self._leaving]

    def write(self, memory: Mapping, offset: int) -> int:
        """Copy the tensors that were described last to `offset`, one behind the other. Returns where the next set
        goes."""
        for tensor in self._leaving:
            if tensor.numel():
                memory.tensor(tensor.dtype, (tensor.numel(),), offset).copy_(tensor.reshape(-1))
            offset += aligned(tensor.numel() * tensor.element_size(), EXPORT_STEP)
        return offset

    @contextmanager
    def mapped(self, described: Message, fds: list[int]) -> Iterator[Mapping]:
        """The memory by which tensors go out; on return everything is written. On a GPU it stays mapped until another
        one comes, or the judge wants it back, because mapping takes as long as drawing its contents."""
        if described["kind"] == "memfd":
            with closing(Mapping(described, fds)) as memory:
                yield memory
                return
        if self._mapped is None or self._mapped[0] != described["number"]:
            self.let_go()
            self._mapped = described["number"], Mapping(described, fds)
        yield self._mapped[1]
        settle(self._device)

    def let_go(self) -> None:
        """Unmap what stayed mapped."""
        if self._mapped is not None:
            self._mapped[1].close()
            self._mapped = None

    def take_in(self, message: Message, fds: list[int]) -> list[torch.Tensor]:
        """Private copies of the tensors that shared memory holds, described by `message["tensors"]`."""
        specs = message["tensors"]
        if not specs:
            return []
        found, offset = [], 0
        with closing(Mapping(message["memory"], fds)) as memory:
            for spec in specs:
                shared = memory.tensor(getattr(torch, spec["dtype"]), spec["shape"], offset)
                # Copied by way of the host, so that a sanitizer sees that the copy has content.
                tensor = shared.cpu().to(self._device, copy=True) if self._under_tool else shared.clone()
                found.append(tensor)
                offset += aligned(tensor.numel() * tensor.element_size(), EXPORT_STEP)
        return found


class _Collector:
    """Takes the tensors out of a nested value, and its numbers too where it is an answer."""

    def __init__(self, *, as_answer: bool, device: str) -> None:
        self._as_answer = as_answer
        self._device = device
        self.tensors: list[torch.Tensor] = []

    def leaf(self, value: Any) -> tree.Node | None:
        """The node of a tensor (or number), None for everything else."""
        if self._as_answer:
            found = leaf_of_answer(value)
            return None if found is None else self._take(found)
        if isinstance(value, torch.dtype):
            return {"v": ["dtype", str(value).removeprefix("torch.")]}
        if not isinstance(value, torch.Tensor):
            return None
        require_dense(value, "handed to another process")
        return self._take(value.detach())

    def _take(self, tensor: torch.Tensor) -> tree.Node:
        self.tensors.append(tensor.to(self._device))
        return {"t": len(self.tensors) - 1}


def settle(device: str) -> None:
    """Wait until everything asked for has happened."""
    if device != "cpu":
        torch.cuda.synchronize()


def put(target: torch.Tensor, content: torch.Tensor) -> None:
    """Copy `content` into a parameter or a buffer. If its elements share memory (an expanded tensor), it cannot be
    written to: it gets memory of its own, unless it has that content already."""
    if all(step or extent <= 1 for step, extent in zip(target.stride(), target.shape, strict=True)):
        target.detach().copy_(content)
    elif not torch.equal(target.detach(), content.to(target.dtype)):
        target.data = content.to(target.dtype)


def is_shareable(item: Any) -> bool:
    """Whether it is a dense tensor that has a shape (no parameter of a lazy module), of a dtype that is carried.
    Quantized dtypes and some of 8 bits are not carried; both constructors make such tensors alike."""
    if not isinstance(item, torch.Tensor) or is_lazy(item):
        return False
    return item.layout is torch.strided and _dtype_name(item) in ITEM_BYTES


def with_shape(name: str, tensor: Any) -> str:
    """A tensor of a state in words."""
    if isinstance(tensor, torch.Tensor) and is_lazy(tensor):
        return f"{name} (made by its first call)"
    return f"{name} {list(tensor.shape)}" if is_shareable(tensor) else name


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
