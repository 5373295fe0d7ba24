"""Asks the compiler itself what the chosen kernel's parameters are, and what the kernel is called in the cubin.

Theory of operation: an empty kernel template is added behind the user's source and instantiated with the kernel's
type, its address and the sizes of its parameters. That instance's mangled name, read from the cubin, then spells all
three, with typedefs, macros and template arguments resolved, `extern "C"` or not; and taking the address instantiates
a template. Nothing is guessed from the source text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from daemon.executor.backends._cubin import demangle, entry_symbols, split_list

_PROBE = "evald_probe"
_TEMPLATES = f"""
template <unsigned long long... evald_n> struct evald_sizes {{}};
template <typename evald_f> struct evald_parameters;
template <typename... evald_a> struct evald_parameters<void (*)(evald_a...)> {{
  typedef evald_sizes<sizeof(evald_a)...> evald_result;
}};
template <typename evald_f, evald_f evald_k, typename evald_s> __global__ void {_PROBE}() {{}}
"""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel as the compiler sees it: its C++ type and `size_bytes`."""

    type: str
    size_bytes: int

    @property
    def is_pointer(self) -> bool:
        return self.type.endswith(("*", "&", ")", "* const"))


@dataclass(frozen=True)
class Interface:
    """How to call a compiled kernel: its symbol and its parameters."""

    symbol: str
    parameters: tuple[Parameter, ...]


def with_probe(text: str, expression: str) -> str:
    """The source with the probe for the kernel `expression` behind it; lines keep their numbers."""
    type_of = f"decltype(&{expression})"
    instance = (
        f"template __global__ void {_PROBE}<{type_of}, &{expression}, evald_parameters<{type_of}>::evald_result>();\n"
    )
    return f"{text}\n{_TEMPLATES}{instance}"


def read_interface(cubin: bytes) -> Interface:
    """What the probe in `cubin` found. Raises ValueError where there is none."""
    symbols = {symbol: demangle(symbol) for symbol in entry_symbols(cubin)}
    probe = next((text for text in symbols.values() if text.startswith(f"void {_PROBE}<")), None)
    if probe is None:
        raise ValueError("the compiler left no description of the kernel")
    inner = probe[len(f"void {_PROBE}<") : probe.rindex(">")]
    signature, target, sizes = split_list(inner)
    types = split_list(signature.removeprefix("void (*)(").removesuffix(")"))
    numbers = [int(number) for number in re.findall(r"\d+", sizes)]
    kernels = {symbol: text for symbol, text in symbols.items() if not text.startswith(f"void {_PROBE}<")}
    parameters = tuple(Parameter(kind, size) for kind, size in zip(types, numbers, strict=True))
    return Interface(_symbol_of(target, kernels), parameters)


def _symbol_of(target: str, kernels: dict[str, str]) -> str:
    """The symbol whose declaration is `target`, which looks like `&(void scale<float>(float*))`, `&(twice(int))` or
    `&(anonymous namespace)::f`."""
    wanted = target.removeprefix("&")
    if wanted.startswith("(") and wanted.endswith(")") and not wanted.startswith("(anonymous namespace)"):
        wanted = wanted[1:-1]
    plain = wanted.removeprefix("void ").partition("(")[0].rpartition("::")[2]
    for symbol, text in kernels.items():
        if text == wanted or text.startswith(f"{wanted}(") or (not symbol.startswith("_Z") and symbol == plain):
            return symbol
    if len(kernels) == 1:
        return next(iter(kernels))
    raise ValueError(f"the cubin has no {wanted}; it has {', '.join(kernels.values())}")
