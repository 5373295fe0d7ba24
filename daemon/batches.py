"""Many things, some at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

_T = TypeVar("_T")


def batched(things: Sequence[_T], size: int) -> Iterator[Sequence[_T]]:
    """Slices of `size` things; the last may be shorter."""
    return (things[start : start + size] for start in range(0, len(things), size))
