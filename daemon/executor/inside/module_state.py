"""Parameters and buffers of a bundle's module: handed out by name, taken over from another one's, made float64.
Untrusted side."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch

from daemon.executor.inside.exchange import is_shareable, put, with_shape

_NAMED = 8  # tensors of a state that a note lists


def shareable_state(instance: Any, only: Collection[str] | None) -> dict[str, Any]:
    """What can be handed out of it, or of `only` these names. Empty for what is no module."""
    if not isinstance(instance, torch.nn.Module):
        return {}
    found = {name: item.detach() for name, item in _state_of(instance).items() if is_shareable(item)}
    return found if only is None else {name: item for name, item in found.items() if name in only}


def adopt(instance: Any, given: Mapping[str, Any]) -> tuple[int, dict[str, list[str]]]:
    """Copy tensors of `given` into the module where names and shapes match. How many, and the first that are left of
    `theirs` and of its `own`, with their shapes."""
    own = _state_of(instance)
    copied = set()
    for name, tensor in given.items():
        if is_shareable(own.get(name)) and isinstance(tensor, torch.Tensor) and own[name].shape == tensor.shape:
            put(own[name], tensor)
            copied.add(name)
    left = {
        which: [with_shape(*item) for item in state.items() if item[0] not in copied]
        for which, state in (("theirs", given), ("own", own))
    }
    return len(copied), {which: names[:_NAMED] for which, names in left.items()}


def make_float64(instance: Any) -> None:
    """Every float in it, and what it makes anew: the process is of no other use after that."""
    torch.set_default_dtype(torch.float64)
    if not isinstance(instance, torch.nn.Module):
        return
    instance.double()
    for tensor in (*instance.parameters(), *instance.buffers()):
        if tensor.is_complex():  # which double() leaves as they are
            tensor.data = tensor.data.to(torch.complex128)


def _state_of(module: torch.nn.Module) -> dict[str, Any]:
    """What a module keeps by name, buffers that are not saved with it among that: they may be drawn at random."""
    return dict(module.named_buffers(remove_duplicate=False)) | module.state_dict(keep_vars=True)
