"""Which kernel of a Triton source is launched."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType
from typing import Any

from daemon.executor.backends._triton_binding import innermost
from daemon.executor.source import KernelFault, Source, named

_DECORATORS = frozenset({"jit", "autotune", "heuristics"})


def choose_kernel(module: ModuleType, source: Source) -> tuple[Any, str]:
    """The kernel the contract means, and its name. Raises `KernelFault` that lists what there is."""
    name = source.metadata.get("kernel_name") or _only_entry(module, source)
    return _launchable(module, name), name


def _launchable(module: ModuleType, name: str) -> Any:
    found = named(module, name)
    if not _can_be_launched(found):
        names = [key for key, value in vars(module).items() if _can_be_launched(value)]
        raise KernelFault(
            "compile_error", f"no Triton kernel {name!r} in the source; it has {', '.join(names) or 'none'}"
        )
    return found


def _can_be_launched(value: Any) -> bool:
    return hasattr(value, "run") and hasattr(value, "__getitem__")


def _only_entry(module: ModuleType, source: Source) -> str:
    """The one decorated kernel no other kernel calls, else the one the source has from another file of the bundle.
    Several, or none: an error that lists them."""
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
    if not kernels:
        entries = [name for name, value in vars(module).items() if _is_the_bundles(value, source.folder)]
    if len(entries) == 1:
        return entries[0]
    if not entries and not kernels:
        raise KernelFault("compile_error", "no function decorated with @triton.jit in the source")
    raise KernelFault(
        "compile_error",
        f"several kernels could be the entry: {', '.join(entries or kernels)}; set metadata.kernel_name",
    )


def _is_the_bundles(value: Any, folder: Path) -> bool:
    """Whether it is a kernel that a file in `folder` defines."""
    if not _can_be_launched(value):
        return False
    function = getattr(innermost(value), "fn", None)
    return Path(getattr(getattr(function, "__code__", None), "co_filename", "/")).is_relative_to(folder)


def _decorated(node: ast.FunctionDef) -> bool:
    for decorator in node.decorator_list:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        name = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        if name in _DECORATORS:
            return True
    return False
