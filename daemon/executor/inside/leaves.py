"""What may be a leaf of an answer: in a kernel's first call, which tells what it answers with, and in every later
one."""

from __future__ import annotations

from typing import Any

import torch

from daemon.executor.shared import tree

_NUMBERS = ((bool, torch.bool), (int, torch.int64), (float, torch.float32), (complex, torch.complex64))


def leaf_of_answer(value: Any) -> torch.Tensor | None:
    """A tensor of an answer. A number becomes one, by its own type and not by what a kernel made torch's default. None
    for all else. Raises `Incomparable`."""
    if isinstance(value, torch.Tensor):
        require_dense(value, "compared")
        return value.detach()
    number = tree.plain(value)
    dtype = next((dtype for kind, dtype in _NUMBERS if isinstance(number, kind)), None)
    if dtype is None:
        return None
    try:
        return torch.tensor(number, dtype=dtype)
    except (OverflowError, RuntimeError, ValueError) as error:
        raise tree.Incomparable("a whole number beyond 64 bits, which cannot be compared") from error


def require_dense(tensor: torch.Tensor, purpose: str) -> None:
    """Raise `Incomparable` for a tensor whose elements do not lie in memory one by one. `purpose`: what it cannot be
    then."""
    if tensor.is_meta:
        raise tree.Incomparable(f"a tensor on the device meta, which has no content to be {purpose}")
    if tensor.is_nested or tensor.layout is not torch.strided:
        kind = "nested" if tensor.is_nested else str(tensor.layout)
        raise tree.Incomparable(f"a {kind} tensor, which cannot be {purpose}; return a dense one")


def in_double(tensor: torch.Tensor) -> torch.Tensor:
    """A float tensor as float64, a complex one as complex128."""
    if tensor.is_complex():
        return tensor.to(torch.complex128)
    return tensor.double() if tensor.dtype.is_floating_point else tensor
