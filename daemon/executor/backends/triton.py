"""`triton`: kernels launched by contract. Without a GPU, Triton's interpreter runs them (TRITON_INTERPRET is in the
environment); for a GPU, the build cell compiles them ahead of time and Triton's cache folder is the artifact."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import triton

from daemon.executor.backends._build_import import import_without_gpu
from daemon.executor.backends._triton_ahead import compile_all, prepare_launcher, use_absent_gpu
from daemon.executor.backends._triton_binding import LAUNCH_OPTIONS, Binding, bind, tuner_of
from daemon.executor.backends._triton_entry import choose_kernel
from daemon.executor.backends._triton_errors import COMPILE_ERRORS, PASSED_OVER, compile_fault
from daemon.executor.backends._triton_launch import GpuLaunch
from daemon.executor.backends._triton_untuned import BY_THE_INTERPRETER, use_first_configs
from daemon.executor.source import Kernel, Source, import_source

SPEC = {
    "io_required": True,
    "metadata_keys": ["kernel_name"],
    "python": True,
    "lacks_dtypes": ["complex64"],
    "build": ["cuda"],
    "answers": "args",
    "devices": ["cpu", "cuda"],
}
_NAMES = {"torch": torch, "triton": triton, "tl": triton.language}


def build(source: Source) -> dict[str, Any]:
    """Compile for `source.architecture` and keep Triton's cache folder. What cannot be compiled without a GPU is left
    to the candidate cell, and `compiled` says so. Raises `KernelFault` for what no GPU could compile."""
    use_absent_gpu(source.architecture)
    module, reason = import_without_gpu(source, _NAMES)
    built = _compiled(module, source) if module is not None else {"compiled": False, "reason": reason}
    if _cache_folder().is_dir():
        shutil.copytree(_cache_folder(), source.artifacts, dirs_exist_ok=True)
    return built


def _compiled(module: ModuleType, source: Source) -> dict[str, Any]:
    kernel, name = choose_kernel(module, source)
    binding = bind(kernel, name, source.args)
    try:
        done, errors = compile_all(kernel, binding, source.args, _grid(source), _options(kernel, source))
    except Exception as error:  # noqa: BLE001 - heuristics and pruning are the user's, and may want a GPU
        return {"kernel": name, "compiled": False, "reason": f"{type(error).__name__}: {error}"[:500]}
    for failure in errors:
        if isinstance(failure, COMPILE_ERRORS) and not (tuner_of(kernel) and isinstance(failure, PASSED_OVER)):
            raise compile_fault(failure, source) from failure
    built = {"kernel": name, "compiled": bool(done), "variants": len(done)}
    if errors:
        built["reason"] = f"{len(errors)} variants were not compiled: {type(errors[0]).__name__}: {errors[0]}"[:500]
    if done:
        built["launcher"] = prepare_launcher(done[0])
    return built


def load(source: Source) -> Kernel:
    """Import the file, choose the kernel, bind grid and options."""
    if source.artifacts.is_dir():
        _restore_cache(source.artifacts)
    module = import_source(source, _NAMES)
    kernel, name = choose_kernel(module, source)
    binding = bind(kernel, name, source.args)
    options = _options(kernel, source)
    describe = {"kernel": name, **options}
    if source.device == "cuda":
        launch = GpuLaunch(kernel, _grid(source), binding, options, source)
        return Kernel(launch, describe=describe, notes=_dropped(kernel, source), report=launch.report)
    return _interpreted(kernel, binding, options, source, describe)


def _interpreted(
    kernel: Any, binding: Binding, options: dict[str, Any], source: Source, describe: dict[str, Any]
) -> Kernel:
    # The kernel may be one that the bundle imports from a package.
    notes = list(dict.fromkeys([BY_THE_INTERPRETER, *use_first_configs(source), *_dropped(kernel, source)]))
    grid = _grid(source)
    runtime = [not arg["is_meta"] for arg in source.args]

    def call(*args: Any) -> None:
        # Triton 3.7's interpreter takes a bool for one bit and then refuses it for its 32.
        plain = [int(arg) if late and isinstance(arg, bool) else arg for arg, late in zip(args, runtime, strict=True)]
        positional, named = binding.arrange(plain)
        kernel[grid](*positional, **named, **options)

    return Kernel(call, notes=notes, describe=describe)


def _grid(source: Source) -> tuple[int, ...]:
    return tuple(source.launch.get("grid") or (1, 1, 1))


def _options(kernel: Any, source: Source) -> dict[str, Any]:
    """The contract's launch options; a tuned kernel's configs bring their own."""
    if tuner_of(kernel) is not None:
        return {}
    return {key: source.launch[key] for key in LAUNCH_OPTIONS if source.launch.get(key) is not None}


def _dropped(kernel: Any, source: Source) -> list[str]:
    given = [key for key in LAUNCH_OPTIONS if source.launch.get(key) is not None]
    if tuner_of(kernel) is None or not given:
        return []
    return [f"launch.{key} is not used: the configs of @autotune say it" for key in given]


def _cache_folder() -> Path:
    return Path(os.environ["TRITON_CACHE_DIR"])


def _restore_cache(artifacts: Path) -> None:
    """Put the cache back. Triton's group files hold absolute paths, which are made to point here."""
    shutil.copytree(artifacts, _cache_folder(), dirs_exist_ok=True)
    for group in _cache_folder().glob("*/__grp__*.json"):
        children = json.loads(group.read_text("utf-8")).get("child_paths", {})
        here = {name: str(group.parent / Path(path).name) for name, path in children.items()}
        group.write_text(json.dumps({"child_paths": here}), "utf-8")
