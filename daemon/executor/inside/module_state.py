"""Parameters and buffers of a bundle's module: handed out by name, taken over from another module, made float64. And
what its attributes hold, put back."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from daemon.executor.inside.exchange import is_shareable, put, with_shape

_NAMED = 8  # tensors of a state that a note lists
_BEGINNING = 1024  # elements
_PLAIN = (torch.Tensor, nn.Parameter)


def shareable_state(instance: Any, only: Collection[str] | None) -> dict[str, Any]:
    """The state that can be handed out, or of it the tensors of `only` these names. Empty for what is not a module."""
    if not isinstance(instance, nn.Module):
        return {}
    found = {name: item.detach() for name, item in _state_of(instance).items() if is_shareable(item)}
    return found if only is None else {name: item for name, item in found.items() if name in only}


def lazy_names(instance: Any) -> list[str]:
    """The names of the first parameters and buffers to which only a first call gives a shape and content, as of
    LazyLinear."""
    if not isinstance(instance, nn.Module):
        return []
    return [name for name, item in _state_of(instance).items() if isinstance(item, torch.Tensor) and is_lazy(item)][
        :_NAMED
    ]


def adopt(instance: Any, given: Mapping[str, Any]) -> tuple[int, dict[str, list[str]]]:
    """Copy tensors of `given` into the module where names and shapes match. Returns how many, and the first that are
    left of `theirs` and of its `own`, with their shapes; and of those that had been `other` before."""
    own = _state_of(instance)
    copied, other = set(), []
    for name, tensor in given.items():
        if is_shareable(own.get(name)) and isinstance(tensor, torch.Tensor) and own[name].shape == tensor.shape:
            if not _begin_alike(own[name], tensor):
                other.append(name)
            put(own[name], tensor)
            copied.add(name)
    left = {
        which: [with_shape(*item) for item in state.items() if item[0] not in copied]
        for which, state in (("theirs", given), ("own", own))
    }
    return len(copied), {which: names[:_NAMED] for which, names in (left | {"other": other}).items()}


def _begin_alike(own: torch.Tensor, given: torch.Tensor) -> bool:
    """Whether the first elements are the same. Compared on the host, because loading a GPU's kernels takes far longer.
    True for a tensor that does not lie in order."""
    if not (own.is_contiguous() and given.is_contiguous()):
        return True
    first, second = (tensor.detach().view(-1)[:_BEGINNING].cpu() for tensor in (own, given))
    return torch.equal(first.view(torch.uint8), second.to(first.dtype).view(torch.uint8))


def make_float64(instance: Any) -> None:
    """Make every float in it, and every float it makes, a float64. The process is of no other use after that."""
    torch.set_default_dtype(torch.float64)
    if not isinstance(instance, nn.Module):
        return
    instance.double()
    for tensor in (*instance.parameters(), *instance.buffers()):
        if tensor.is_complex():  # which double() leaves as they are
            tensor.data = tensor.data.to(torch.complex128)


class Attributes:
    """The tensors, and tuples of tensors, that a module's attributes hold now, to be put back after calls that were
    captured and did not run. What those calls leave there is memory to which nothing has been written."""

    def __init__(self, instance: Any) -> None:
        modules = nn.Module.named_modules(instance) if isinstance(instance, nn.Module) else ()
        self._held = {
            f"{path}.{name}".lstrip("."): (module, attributes, name, value, _places(value))
            for path, module in modules
            for attributes in (vars(module), module._parameters, module._buffers)
            if isinstance(attributes, dict)  # a compiled module's cannot be written to
            for name, value in attributes.items()
            if _places(value)
        }

    def take_away(self, names: Iterable[str]) -> None:
        """Whoever reads one of them is told that there is no such attribute."""
        for _, attributes, name, _, _ in map(self._held.__getitem__, names):
            del attributes[name]

    def put_back(self) -> list[str]:
        """The names of those that held other memory, or nothing, by now."""
        moved = []
        for path, (module, attributes, name, value, places) in self._held.items():
            if _places(attributes.get(name)) != places:
                moved.append(path)
            if attributes is not vars(module):
                vars(module).pop(name, None)  # where an assignment goes that finds no such buffer
            attributes[name] = value
        return moved


def _places(value: Any) -> list[int]:
    """Where it begins in memory, a tuple of tensors as well as one."""
    leaves = value if isinstance(value, tuple) else (value,)
    return [leaf.data_ptr() for leaf in leaves if type(leaf) in _PLAIN and leaf.layout is torch.strided]


def _state_of(module: nn.Module) -> dict[str, Any]:
    """What a module keeps by name, including buffers that are not saved with it: they may be drawn at random."""
    return dict(module.named_buffers(remove_duplicate=False)) | module.state_dict(keep_vars=True)
