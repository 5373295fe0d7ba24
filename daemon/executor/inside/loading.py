"""From a message to the sources it brings and the backend they are for."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from daemon.executor.inside import packing
from daemon.executor.shared.protocol import Message
from daemon.executor.source import KernelFault, Source, advice


def unpack(message: Message, fds: list[int], folder: Path, backend_paths: Iterable[Path]) -> tuple[ModuleType, Source]:
    """The backend, and the sources in `folder`, where this process is from now on."""
    packing.write_files(folder, message["files"], fds[0])
    os.chdir(folder)
    artifacts = folder.with_name("artifacts")
    if message.get("artifact_bytes"):
        packing.unpack(artifacts, fds[1], message["artifact_bytes"])
    backend = _backend(message["kernel_type"], backend_paths)
    _set_precision(message["matmul_precision"])
    return backend, Source(
        path=folder / message["source_file"],
        folder=folder,
        artifacts=artifacts,
        side=message["side"],
        device=message["device"],
        architecture=message["architecture"],
        metadata=message["metadata"],
        args=tuple(message["args"]),
        launch=message["launch"],
        requires=message["requires"],
    )


def compiled(run: Callable[[Source], Any], source: Source) -> Any:
    """What `run`, of the backend, makes of the source. A source that does not compile because it is none gets a remark
    that says so."""
    try:
        return run(source)
    except KernelFault as fault:
        if fault.verdict == "compile_error":
            fault.message += advice.on_source(source.text, fault.__cause__)
        raise


def _set_precision(wanted: str) -> None:
    """How exact float32 matrix products and convolutions are; "highest": no TF32 anywhere."""
    torch.set_float32_matmul_precision(wanted)
    torch.backends.cudnn.allow_tf32 = wanted != "highest"


def _backend(kernel_type: str, folders: Iterable[Path]) -> ModuleType:
    """Raises `KernelFault` where this host lacks what it imports: nothing of a bundle has run yet."""
    try:
        return _imported(kernel_type, folders)
    except ModuleNotFoundError as error:
        lack = f"no module {error.name} on this host, which kernels of type {kernel_type} need: evald doctor"
        raise KernelFault("unsupported", lack) from error


def _imported(kernel_type: str, folders: Iterable[Path]) -> ModuleType:
    for folder in folders:
        path = folder / f"{kernel_type}.py"
        if path.is_file():
            spec = importlib.util.spec_from_file_location(f"evald_backend_{kernel_type}", path)
            if spec is not None and spec.loader is not None:
                module = importlib.util.module_from_spec(spec)
                spec.loader.exec_module(module)
                return module
    return importlib.import_module(f"daemon.executor.backends.{kernel_type}")
