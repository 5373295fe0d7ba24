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
from pathlib import Path
from typing import Any

import torch
from torch import nn

from daemon.executor.backends._build_import import compiler_first, extensions_folder, import_without_gpu
from daemon.executor.backends.torch import from_module
from daemon.executor.shared.compiler_wrapper import LOG_NAME
from daemon.executor.source import Kernel, Source, import_source

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


def build(source: Source) -> dict[str, Any]:
    """Import the source, which compiles, and keep what torch built. On a host with a GPU, an import that fails for want
    of one is left to the candidate cell."""
    if source.device == "cuda":
        pretend_gpu(source.architecture)
    _, reason = compiler_first(lambda: import_without_gpu(source, _NAMES), source)
    built = extensions_folder()
    if built.is_dir():
        shutil.copytree(built, source.artifacts, dirs_exist_ok=True, symlinks=True)
    return {"imported": reason is None} | ({"reason": reason} if reason else {}) | _header_use()


def load(source: Source) -> Kernel:
    """Import the source again over the built folder: nothing is compiled twice."""
    if source.artifacts.is_dir():
        shutil.copytree(source.artifacts, extensions_folder(), dirs_exist_ok=True, symlinks=True)
    return from_module(compiler_first(lambda: import_source(source, _NAMES), source), source)


def pretend_gpu(architecture: str) -> None:
    """Answer what a source asks about the GPU before it compiles as it will be answered on the GPU. Using the GPU still
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


def _header_use() -> dict[str, Any]:
    """Whether every C++ file was compiled with torch's precompiled header, as the compiler's wrapper says; and the
    optimization level for which a header would be needed."""
    try:
        log = (Path(os.environ["TMPDIR"]) / LOG_NAME).read_text("utf-8")
        lines = [json.loads(line) for line in log.splitlines()]
        used = bool(lines) and all(line["used"] for line in lines)
        wanted = next((line["wanted"] for line in lines if line["wanted"] is not None), None)
    except (OSError, KeyError, TypeError, ValueError):  # no wrapper, or a source that writes into its log
        return {"precompiled_header": False}
    return {"precompiled_header": used} | ({} if wanted is None else {"precompiled_header_wanted": wanted})
