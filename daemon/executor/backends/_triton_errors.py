"""Triton's compiler errors, told with the file and line of the bundle's own source."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

from triton.compiler.errors import CompilationError, CompileTimeAssertionFailure
from triton.runtime.errors import OutOfResources, PTXASError
from triton.runtime.jit import JITFunction

from daemon.executor.source import KernelFault, Source

COMPILE_ERRORS = (CompilationError, PTXASError)
# What @autotune itself takes for "this config does not work here" and passes over.
PASSED_OVER = (OutOfResources, CompileTimeAssertionFailure, PTXASError)


def compile_fault(error: CompilationError | PTXASError, source: Source) -> KernelFault:
    """The fault behind a failed compilation: the innermost cause, which stands in the helper that is wrong."""
    if isinstance(error, PTXASError):
        return KernelFault("compile_error", f"ptxas: {str(error)[:6000]}")
    innermost: Any = error
    while isinstance(innermost.__cause__, CompilationError):
        innermost = innermost.__cause__
    cause = innermost.__cause__
    said = innermost.error_message or (f"{type(cause).__name__}: {cause}" if cause is not None else "does not compile")
    details = str(innermost)[:16_000]
    return KernelFault("compile_error", f"{_place(innermost, source)}{said}"[:6000], details=details)


def _place(error: CompilationError, source: Source) -> str:
    """`file:line: ` of the user's own source; the error counts from the function's `def`."""
    offset = getattr(error.node, "lineno", None)
    function = _function(error.src, source)
    if offset is None or function is None:
        return ""
    lines, first = inspect.getsourcelines(function)
    skipped = next((number for number, text in enumerate(lines) if text.lstrip().startswith("def ")), 0)
    return f"{Path(function.__code__.co_filename).name}:{first + skipped + offset - 1}: "


def _function(text: str | None, source: Source) -> Any:
    """The Python function of the bundle whose source is `text`."""
    for module in list(sys.modules.values()):
        if not Path(getattr(module, "__file__", None) or "/").is_relative_to(source.folder):
            continue
        for value in list(vars(module).values()):
            if isinstance(found := _jitted(value), JITFunction) and found.src == text:
                return found.fn
    return None


def _jitted(value: Any) -> Any:
    while not isinstance(value, JITFunction) and hasattr(value, "fn"):
        value = value.fn
    return value
