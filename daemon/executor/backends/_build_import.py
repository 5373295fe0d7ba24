"""Importing a source in the build cell, which has no GPU: which failures are final, which only say that."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from daemon.executor.source import KernelFault, Source, import_source


def import_without_gpu(source: Source, names: dict[str, Any]) -> tuple[ModuleType | None, str | None]:
    """The imported module, or None and the reason it could not be imported here.

    Where the source will run on a GPU, its own import there repeats everything, so only what a GPU cannot heal raises
    `KernelFault`: a syntax error, a missing module, a compiler that failed.
    """
    try:
        return import_source(source, names), None
    except KernelFault as fault:
        if source.device != "cuda" or is_final(fault):
            raise
        return None, fault.message.partition("\n")[0][:500]


def is_final(fault: KernelFault) -> bool:
    """Whether the import fails on every machine."""
    return fault.__cause__ is None or any(
        isinstance(error, SyntaxError | ModuleNotFoundError | subprocess.CalledProcessError)
        for error in causes(fault.__cause__)
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """`error` and what it was explicitly raised from, outermost first. What it merely came after does not count: a
    missing module that was caught is not why the GPU was wanted."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__
