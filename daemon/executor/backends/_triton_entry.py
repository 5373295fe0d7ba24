"""Which kernel of a Triton source is launched."""

from __future__ import annotations

import ast
from types import ModuleType
from typing import Any

from daemon.executor.source import KernelFault, Source

_DECORATORS = frozenset({"jit", "autotune", "heuristics"})


def choose_kernel(module: ModuleType, source: Source) -> tuple[Any, str]:
    """The kernel the contract means, and its name. Raises `KernelFault` that lists what there is."""
    name = source.metadata.get("kernel_name") or _only_entry(source)
    return _launchable(module, name), name


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
