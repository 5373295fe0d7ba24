"""Whether a call has left its arguments as they came: its tensors, and the lists and dicts they are in."""

from __future__ import annotations

from typing import Any

import torch


def is_changed(field: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether a kernel has asked for a gradient of it, or turned, resized or moved it. A gradient that nobody asks for
    any more stays, and the next one would be added to it."""
    if field.requires_grad or field.grad is not None:
        return True
    if field.shape != given.shape or field.stride() != given.stride():
        return True
    return bool(given.numel()) and field.data_ptr() != given.data_ptr()


def nested_anew(value: Any) -> Any:
    """The same objects in other lists and dicts."""
    if isinstance(value, dict):
        return {key: nested_anew(item) for key, item in value.items()}
    return type(value)(map(nested_anew, value)) if isinstance(value, list | tuple) else value


def holds_the_same(value: Any, other: Any) -> bool:
    """Whether two nestings hold the very same objects."""
    if isinstance(other, dict):
        is_alike = isinstance(value, dict) and list(value) == list(other)
        return is_alike and all(map(holds_the_same, value.values(), other.values()))
    if isinstance(other, list | tuple):
        is_alike = type(value) is type(other) and len(value) == len(other)
        return is_alike and all(map(holds_the_same, value, other))
    return value is other
