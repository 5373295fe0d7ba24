"""`torch_cuda`: a `torch` source that compiles an extension with `load_inline` or `load` when it is imported.

The build cell imports it once with its own TORCH_EXTENSIONS_DIR; that folder is the artifact. The candidate cell gets
the folder back at the same path with the same time stamps, so the import there finds everything up to date and
compiles nothing. For a GPU it is compiled for that one's architecture alone (TORCH_CUDA_ARCH_LIST, which the cell
sets; the source's own `extra_cuda_cflags` stand above it).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from daemon.executor.backends._build_import import causes, import_without_gpu
from daemon.executor.backends._compiler_log import first_error_first, is_final, without_folders
from daemon.executor.backends._compiler_wrapper import LOG_NAME
from daemon.executor.backends.torch import from_module
from daemon.executor.source import Kernel, KernelFault, Source, import_source

SPEC = {
    "io_required": False,
    "metadata_keys": ["function_name", "class_name", "method_name"],
    "python": True,
    "build": ["cpu", "cuda"],
    "precompiled_header": True,
    "answers": "either",
    "devices": ["cpu", "cuda"],
}
_NAMES = {"torch": torch, "nn": nn}
_T = TypeVar("_T")


def build(source: Source) -> dict[str, Any]:
    """Import the source, which compiles; keep what torch built. On a host with a GPU an import that fails for want of
    one is left to the candidate cell."""
    if source.device == "cuda":
        pretend_gpu(source.architecture)
    _, reason = _compiler_first(lambda: import_without_gpu(source, _NAMES), source)
    built = _extensions_folder()
    if built.is_dir():
        shutil.copytree(built, source.artifacts, dirs_exist_ok=True, symlinks=True)
    return {"imported": reason is None} | ({"reason": reason} if reason else {}) | _header_use()


def load(source: Source) -> Kernel:
    """Import the source again over the built folder: nothing is compiled twice."""
    if source.artifacts.is_dir():
        shutil.copytree(source.artifacts, _extensions_folder(), dirs_exist_ok=True, symlinks=True)
    return from_module(_compiler_first(lambda: import_source(source, _NAMES), source), source)


def pretend_gpu(architecture: str) -> None:
    """What a source asks about the GPU before it compiles gets the answer it will get there. Using the GPU still
    fails."""
    major, _, minor = architecture.partition(".")
    answers: dict[str, Any] = {
        "is_available": True,
        "device_count": 1,
        "current_device": 0,
        "get_device_capability": (int(major), int(minor or 0)),
    }
    for name, value in answers.items():
        setattr(torch.cuda, name, lambda *_args, value=value, **_kwargs: value)


def _compiler_first(run: Callable[[], _T], source: Source) -> _T:
    """`run()`; where a compiler failed, a fault that begins with its first error instead of torch's words."""
    try:
        return run()
    except KernelFault as fault:
        failed = [error for error in causes(fault) if isinstance(error, subprocess.CalledProcessError)]
        if not failed:
            raise
        output = failed[0].output
        log = output.decode("utf-8", "replace") if isinstance(output, bytes) else str(output or fault.message)
        said = _readable(log, source)
        raise KernelFault("compile_error", said, details=fault.details, final=is_final(log)) from fault


def _header_use() -> dict[str, Any]:
    """Whether every C++ file was compiled with torch's precompiled header, as the compiler's wrapper says; and the
    level of optimization that one would be needed for."""
    try:
        log = (Path(os.environ["TMPDIR"]) / LOG_NAME).read_text("utf-8")
        lines = [json.loads(line) for line in log.splitlines()]
        used = bool(lines) and all(line["used"] for line in lines)
        wanted = next((line["wanted"] for line in lines if line["wanted"] is not None), None)
    except (OSError, KeyError, TypeError, ValueError):  # no wrapper, or a source that writes into its log
        return {"precompiled_header": False}
    return {"precompiled_header": used} | ({} if wanted is None else {"precompiled_header_wanted": wanted})


def _readable(log: str, source: Source) -> str:
    folders = [folder for folder in _extensions_folder().glob("*") if folder.is_dir()]
    return f"the extension does not compile: {first_error_first(without_folders(log, [*folders, source.folder]))}"


def _extensions_folder() -> Path:
    return Path(os.environ["TORCH_EXTENSIONS_DIR"])
