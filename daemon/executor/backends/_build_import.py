"""Importing a source in the build cell, which has no GPU, and in a cell where the import compiles an extension of
torch: which failures are final, and what is said of them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, TypeGuard, TypeVar

from daemon.executor.backends._compiler_log import first_error_first, without_folders
from daemon.executor.backends._compiler_log import is_final as says_final
from daemon.executor.backends._cuda_toolkit import nvcc
from daemon.executor.source import KernelFault, Source, import_source

_T = TypeVar("_T")
_NO_TOOLKIT = "CUDA_HOME environment variable is not set"  # torch's words
_COMPILERS = re.compile(r"ninja|make|cmake|nvcc|(.*-)?(c\+\+|g\+\+|gcc|cc|clang|clang\+\+)(-\d+)?")
_NO_NVCC = "nvcc: not found"  # what a shell says if the toolkit's folder has no compiler, as in containers


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
    """`error` and what it was explicitly raised from, outermost first. An error during whose handling it was raised
    does not count: a missing module that was caught is not why the GPU was wanted."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__


def compiler_first(run: Callable[[], _T], source: Source) -> _T:
    """What `run()` returns. Where a compiler failed, raises a fault that begins with the compiler's first error,
    instead of torch's words. Where there is no compiler for CUDA sources, this machine lacks it, and the sources are
    not at fault."""
    try:
        return run()
    except KernelFault as fault:
        if any(isinstance(error, OSError) and _NO_TOOLKIT in str(error) for error in causes(fault)):
            raise _lacks_toolkit(fault, source) from fault
        failed = [error for error in causes(fault) if _is_of_a_compiler(error)]
        if not failed:
            raise
        output = failed[0].output
        log = output.decode("utf-8", "replace") if isinstance(output, bytes) else str(output or fault.message)
        if _NO_NVCC in log and nvcc() is None:
            raise _lacks_toolkit(fault, source) from fault
        said = _readable(log, source)
        raise KernelFault("compile_error", said, details=fault.details, final=says_final(log)) from fault


def _is_of_a_compiler(error: BaseException) -> TypeGuard[subprocess.CalledProcessError]:
    """Whether the error says that a compiler failed, or what calls one, and not another program that a source runs."""
    if not isinstance(error, subprocess.CalledProcessError):
        return False
    words = error.cmd if isinstance(error.cmd, list | tuple) else str(error.cmd).split()
    return bool(words) and _COMPILERS.fullmatch(str(words[0]).rpartition("/")[2]) is not None


def _lacks_toolkit(fault: KernelFault, source: Source) -> KernelFault:
    lack = "needs a GPU, this host judges on the CPU"
    if source.device == "cuda":
        lack = "cannot be compiled: no nvcc on this machine: install the CUDA toolkit"
    return KernelFault("unsupported", f"an extension with CUDA sources {lack}", details=fault.details)


def _readable(log: str, source: Source) -> str:
    folders = [folder for folder in extensions_folder().glob("*") if folder.is_dir()]
    return f"the extension does not compile: {first_error_first(without_folders(log, [*folders, source.folder]))}"


def extensions_folder() -> Path:
    """Where torch builds extensions in this cell."""
    return Path(os.environ["TORCH_EXTENSIONS_DIR"])
