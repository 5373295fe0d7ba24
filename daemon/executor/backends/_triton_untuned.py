"""What differs where Triton's interpreter runs a bundle's kernels: it has no GPU to tune on, and refuses less."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from daemon.executor.source import Source

BY_THE_INTERPRETER = "run by Triton's interpreter: no GPU"
_SYNTAX = "{kernel} would not compile for a GPU, whose compiler does not take {what} in line {line}"
_REFUSED = (
    "{kernel} would not compile for a GPU: it reads {variable} {where}, which has to be a parameter, or "
    "{variable} = tl.constexpr(…) there"
)


def use_first_configs(source: Source) -> list[str]:
    """Leave every tuned kernel of the bundle's modules its first config.

    Returns notes, if there is any kernel: that the interpreter runs them, and one for each kernel that had several
    configs or that no GPU would take.
    """
    if source.device == "cuda" or "triton" not in sys.modules:
        return []
    from triton.runtime.autotuner import Autotuner, Heuristics
    from triton.runtime.interpreter import InterpretedFunction

    from daemon.executor.backends import (
        _triton_closures,
        _triton_constants,
        _triton_floats,
        _triton_libdevice,
        _triton_logic,
        _triton_members,
        _triton_products,
        _triton_uncompiled,
    )
    from daemon.executor.backends._triton_binding import innermost, tuner_of
    from daemon.executor.backends._triton_globals import plain_variables
    from daemon.executor.backends._triton_syntax import refused

    for repaired in (
        _triton_floats,
        _triton_closures,
        _triton_constants,
        _triton_logic,
        _triton_members,
        _triton_products,
    ):
        repaired.repair()
    namespaces = list(_namespaces(source.folder))
    _triton_libdevice.repair(namespaces)
    notes: list[str] = []
    values = [value for names in namespaces for value in names.items()]
    if any(issubclass(type(value), InterpretedFunction | Autotuner | Heuristics) for _, value in values):
        notes += filter(None, [BY_THE_INTERPRETER, _triton_uncompiled.leave_out()])
    for name, value in values:
        if issubclass(type(value), InterpretedFunction | Autotuner | Heuristics):
            function = getattr(innermost(value), "fn", None)
            read = plain_variables(function)
            notes += [_REFUSED.format(kernel=name, variable=variable, where=where) for variable, where in read]
            notes += [_SYNTAX.format(kernel=name, what=what, line=line) for what, line in refused(function)]
        tuner = tuner_of(value) if issubclass(type(value), Autotuner | Heuristics) else None
        if tuner is None or not tuner.configs[1:]:
            continue
        tuner.configs = tuner.configs[:1]
        notes.append(f"the interpreter cannot tune: {name} runs with its first config, {tuner.configs[0].kwargs}")
    return list(dict.fromkeys(notes))  # one module may import another's


def _namespaces(folder: Path) -> Iterator[dict[str, Any]]:
    """What the modules of the bundle define at their top level, by name. There are a thousand other modules: a `Path`
    for each took 40 ms."""
    inside = f"{folder}{os.sep}"
    for module in list(sys.modules.values()):
        path = vars(module).get("__file__") if isinstance(module, ModuleType) else None  # lazy ones load when asked
        if isinstance(path, str) and path.startswith(inside):
            yield vars(module)
