"""Variables from around a kernel that it reads: Triton's interpreter takes what its compiler for a GPU refuses."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping
from inspect import getclosurevars
from types import CodeType
from typing import Any

_PLAIN = (bool, int, float, str)  # none of them is a `tl.constexpr`
_OF_MODULE, _OF_FUNCTION = "of its module", "of the function it is defined in"


def plain_variables(function: Any) -> list[tuple[str, str]]:
    """The numbers and texts from around a function that it reads by name and that are not `tl.constexpr`, each with the
    place where it stands.

    Defaults and annotations are not part of a function's code: there Triton allows any of them.
    """
    code, around = getattr(function, "__code__", None), getattr(function, "__globals__", None)
    if not isinstance(code, CodeType) or not isinstance(around, Mapping):
        return []
    enclosing = getclosurevars(function).nonlocals
    found = [(name, enclosing.get(name), _OF_FUNCTION) for name in code.co_freevars]
    found += [(name, around.get(name), _OF_MODULE) for name in dict.fromkeys(_read(code))]
    return [(name, where) for name, value, where in found if type(value) in _PLAIN]


def _read(code: CodeType) -> Iterator[str]:
    """Names that are looked up outside of a function, in the order of its text."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield str(instruction.argval)
