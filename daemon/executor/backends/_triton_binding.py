"""How the contract's positional arguments meet a Triton kernel's parameters.

`@autotune` and `@heuristics` supply some parameters themselves; what the contract says of those is not passed.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from triton.runtime.autotuner import Autotuner, Heuristics

from daemon.executor.source import KernelFault

LAUNCH_OPTIONS = ("num_warps", "num_stages")  # of a launch in Python, keywords beside the kernel's arguments


@dataclass(frozen=True)
class Binding:
    """Which of the contract's arguments go where: `positional` by position, `named` as keywords (behind a parameter
    that is supplied)."""

    positional: tuple[int, ...]
    named: tuple[tuple[str, int], ...]
    all_in_order: bool

    def arrange(self, args: Sequence[Any]) -> tuple[Sequence[Any], dict[str, Any]]:
        """The positional and the keyword arguments of a launch."""
        if self.all_in_order:
            return args, {}
        return [args[index] for index in self.positional], {name: args[index] for name, index in self.named}


def bind(kernel: Any, name: str, args: Sequence[dict[str, Any]]) -> Binding:
    """Match the contract's arguments with the kernel's parameters, in order. Raises `KernelFault` naming both lists."""
    supplied = supplied_names(kernel)
    parameters = list(inspect.signature(innermost(kernel).fn).parameters.values())
    free = [parameter.name for parameter in parameters if parameter.name not in supplied]
    required = [item.name for item in parameters if item.name in free and item.default is item.empty]
    given = [index for index, arg in enumerate(args) if arg["name"] not in supplied]
    if not len(required) <= len(given) <= len(free):
        names = [str(args[index]["name"]) for index in given]
        options = [option for option in names if option in LAUNCH_OPTIONS and option not in free]
        raise KernelFault(
            "compile_error",
            f"the contract gives {len(given)} arguments ({', '.join(names)}), but the kernel {name} takes "
            f"{len(required)} ({', '.join(required)})"
            + (f", besides {', '.join(sorted(supplied))}" if supplied else "")
            + (f": give {' and '.join(options)} in io.launch" if options else ""),
        )
    _require_order(name, [arg["name"] for index, arg in enumerate(args) if index in given], free)
    first = next((number for number, item in enumerate(parameters) if item.name in supplied), len(parameters))
    pairs = list(zip(free, given, strict=False))
    return Binding(tuple(given[:first]), tuple(pairs[first:]), first == len(parameters) and len(given) == len(args))


def _require_order(kernel: str, given: Sequence[str], free: Sequence[str]) -> None:
    """Arguments are passed in the contract's order. So names that both sides know should stand in the same order.
    Raises `KernelFault` where they do not, because the kernel would get one tensor for another."""
    known = [name for name in given if name in free]
    wanted = [name for name in free if name in known]
    if known != wanted:
        raise KernelFault(
            "compile_error",
            f"the contract gives {', '.join(known)} in this order, but the kernel {kernel} takes {', '.join(wanted)}: "
            "put the args into the kernel's order, for they are passed by position",
        )


def layers(kernel: Any) -> Iterator[Any]:
    """The kernel's decorators, outermost first, then the jitted function itself."""
    while isinstance(kernel, Autotuner | Heuristics):
        yield kernel
        kernel = kernel.fn
    yield kernel


def innermost(kernel: Any) -> Any:
    """The jitted function under all decorators."""
    return list(layers(kernel))[-1]


def tuner_of(kernel: Any) -> Any:
    """The `@autotune` layer, or None."""
    return next((layer for layer in layers(kernel) if isinstance(layer, Autotuner)), None)


def supplied_names(kernel: Any) -> frozenset[str]:
    """Parameters that `@autotune` and `@heuristics` supply."""
    names: set[str] = set()
    for layer in layers(kernel):
        if isinstance(layer, Autotuner):
            names.update(key for config in layer.configs for key in config.kwargs)
        elif isinstance(layer, Heuristics):
            names.update(layer.values)
    return frozenset(names)
