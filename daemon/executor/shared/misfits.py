"""Values that have no place in a tree: what each is, and what to give in its place. No torch."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any


def described(value: Any, *, passed: bool) -> str:
    """What `value` is, for a sentence that begins with where it is. `passed`: it was to be handed to a kernel, not to
    be compared."""
    if value is None:
        return "None (is a return missing?)"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    advice = _instead(value, passed=passed)
    if passed:
        return f"of type {name}, which cannot be handed to another process; {advice or _TAKEN}"
    return f"of type {name}, which cannot be compared; {advice or _COMPARED}"


_TAKEN = "tensors, numbers, texts and None can"
_COMPARED = "tensors and numbers can, and None beside them"


def _instead(value: Any, *, passed: bool) -> str:
    """What to do about it, or nothing."""
    if inspect.iscoroutine(value):
        value.close()  # else Python warns in our frames that nobody has awaited it
    advice = next((advice for is_one, advice in _ADVICE if is_one(value)), "")
    if _has_fields(value):
        advice = f"a tuple or a dict of its fields: {', '.join(part.name for part in dataclasses.fields(value))}"
    if not advice and callable(value):
        return "let each source make it itself" if passed else "call it, and return what it returns"
    if passed and not advice:
        return _LEFT_OUT.get(f"{type(value).__module__}.{type(value).__qualname__}", "")
    return f"{'give' if passed else 'return'} {advice}" if advice else ""


def _is_array(value: Any) -> bool:
    return any((kind.__module__, kind.__name__) == ("numpy", "ndarray") for kind in type(value).__mro__)


def _is_generator(value: Any) -> bool:
    return inspect.isgenerator(value) or inspect.isasyncgen(value)


def _has_fields(value: Any) -> bool:
    return dataclasses.is_dataclass(value) and not isinstance(value, type)


_LEFT_OUT = {
    "torch.device": "leave it out: what a kernel is given lies where it runs, x.device says where",
    "torch._C.Generator": "leave it out: torch's own generators are seeded alike before every call",
    "builtins.range": "give its numbers, as a list",
    "builtins.slice": "give its numbers, as a tuple",
}
_ADVICE: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (_is_array, "a tensor: torch.from_numpy(…)"),
    (inspect.isawaitable, "what it awaits: write def, not async def, nothing is awaited here"),
    (_is_generator, "a list: yield makes a function a generator"),
    (lambda value: isinstance(value, set | frozenset), "a list: a set has no order"),
)
