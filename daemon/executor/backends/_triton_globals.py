"""Variables of its module that a kernel reads: Triton's interpreter takes what its compiler for a GPU refuses."""

from __future__ import annotations

import dis
from collections.abc import Iterator, Mapping
from types import CodeType
from typing import Any

_PLAIN = (bool, int, float, str)  # none of them is a `tl.constexpr`


def plain_globals(function: Any) -> list[str]:
    """The numbers and texts of its module that a function reads by name and that are no `tl.constexpr`.

    Defaults and annotations are not part of a function's code: there Triton allows any of them.
    """
    code, around = getattr(function, "__code__", None), getattr(function, "__globals__", None)
    if not isinstance(code, CodeType) or not isinstance(around, Mapping):
        return []
    return [name for name in dict.fromkeys(_read(code)) if type(around.get(name)) in _PLAIN]


def _read(code: CodeType) -> Iterator[str]:
    """Names that are looked up outside of a function, in the order of its text."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "LOAD_GLOBAL":
            yield str(instruction.argval)
