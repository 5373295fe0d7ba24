"""`triton`: kernels launched by contract. Without a GPU, Triton's interpreter runs them (TRITON_INTERPRET is in the
environment)."""

from __future__ import annotations

import ast
from types import ModuleType
from typing import Any

import torch
import triton
from triton.runtime.autotuner import Autotuner, Heuristics

from daemon.executor.source import Kernel, KernelFault, Source, import_source

SPEC = {
    "io_required": True,
    "metadata_keys": ["kernel_name"],
    "python": True,
    "build": False,
    "answers": "args",
    "devices": ["cpu", "cuda"],
}
_DECORATORS = frozenset({"jit", "autotune", "heuristics"})


def load(source: Source) -> Kernel:
    """Import the file, choose the kernel, bind grid and options."""
    module = import_source(source, {"torch": torch, "triton": triton, "tl": triton.language})
    name = source.metadata.get("kernel_name") or _only_entry(source)
    kernel = _launchable(module, name)
    supplied = _supplied_names(kernel)
    options = {key: source.launch[key] for key in ("num_warps", "num_stages") if source.launch.get(key) is not None}
    notes: list[str] = []
    config: dict[str, Any] = {}
    if source.device == "cpu":
        notes.append("run by Triton's interpreter: no GPU")
        kernel, config = _first_config(kernel)
        if config:
            notes.append(f"the interpreter cannot tune: the first config is used, {config}")
    grid = tuple(source.launch.get("grid") or (1, 1, 1))
    positions = [index for index, arg in enumerate(source.args) if arg["name"] not in supplied]

    def call(*args: Any) -> None:
        kernel[grid](*(args[index] for index in positions), **options, **config)

    return Kernel(call, notes=notes, describe={"kernel": name, **options})


def _launchable(module: ModuleType, name: str) -> Any:
    found = getattr(module, name, None)
    if found is None or not hasattr(found, "__getitem__") or not hasattr(found, "run"):
        names = [key for key, value in vars(module).items() if hasattr(value, "run") and hasattr(value, "__getitem__")]
        raise KernelFault(
            "compile_error", f"no Triton kernel {name!r} in the source; it has {', '.join(names) or 'none'}"
        )
    return found


def _only_entry(source: Source) -> str:
    """The one decorated kernel no other kernel calls. Several, or none: an error that lists them."""
    kernels = {
        node.name: node
        for node in ast.parse(source.text).body
        if isinstance(node, ast.FunctionDef) and _decorated(node)
    }
    called = {
        name.id
        for owner, node in kernels.items()
        for name in ast.walk(node)
        if isinstance(name, ast.Name) and name.id in kernels and name.id != owner
    }
    entries = [name for name in kernels if name not in called]
    if len(entries) == 1:
        return entries[0]
    if not kernels:
        raise KernelFault("compile_error", "no function decorated with @triton.jit in the source")
    raise KernelFault(
        "compile_error",
        f"several kernels could be the entry: {', '.join(entries or kernels)}; set metadata.kernel_name",
    )


def _decorated(node: ast.FunctionDef) -> bool:
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if name in _DECORATORS:
            return True
    return False


def _supplied_names(kernel: Any) -> frozenset[str]:
    """Arguments that `@autotune` and `@heuristics` supply: the contract's values for them are not passed."""
    names: set[str] = set()
    while isinstance(kernel, Autotuner | Heuristics):
        if isinstance(kernel, Autotuner):
            names.update(key for config in kernel.configs for key in config.kwargs)
        else:
            names.update(kernel.values)
        kernel = kernel.fn
    return frozenset(names)


def _first_config(kernel: Any) -> tuple[Any, dict[str, Any]]:
    """The kernel without `@autotune`, and the values of its first config: tuning times on a GPU, the interpreter has
    none."""
    if isinstance(kernel, Autotuner):
        inner, config = _first_config(kernel.fn)
        return inner, {**(kernel.configs[0].kwargs if kernel.configs else {}), **config}
    if isinstance(kernel, Heuristics):
        kernel.fn, config = _first_config(kernel.fn)
        return kernel, config
    return kernel, {}
