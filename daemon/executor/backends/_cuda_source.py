"""Which `__global__` functions a CUDA source has, and which of them the contract means."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from daemon.executor.backends._compiler_log import first_error_first
from daemon.executor.source import KernelFault

_COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'', re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.)*(?:\\\n(?:[^\n\\]|\\.)*)*", re.MULTILINE | re.DOTALL)
_LANDMARK = re.compile(r"\bnamespace\s*([\w:]*)\s*\{|([{}])|\b__global__\b")
_CALLISH = re.compile(r"(\w+)\s*\(|[;{]")


@dataclass(frozen=True)
class GlobalFunction:
    """A `__global__` function: its name with namespaces, and whether it is a template."""

    name: str
    is_template: bool

    @property
    def shown(self) -> str:
        return f"{self.name}<…>" if self.is_template else self.name


def find_kernels(text: str) -> list[GlobalFunction]:
    """The `__global__` functions in `text`, in order, each once. Macros are not expanded."""
    code = _bare(text)
    scopes: list[str] = []
    found: list[GlobalFunction] = []
    for mark in _LANDMARK.finditer(code):
        if mark[0].startswith("namespace"):
            scopes.append(mark[1])
        elif mark[2] == "{":
            scopes.append("")
        elif mark[2] == "}":
            del scopes[-1:]
        elif (name := _function_name(code, mark.end())) is not None:
            before = re.split(r"[;{}]", code[: mark.start()])[-1]
            qualified = "::".join([*filter(None, scopes), name])
            found.append(GlobalFunction(qualified, re.search(r"\btemplate\b", before) is not None))
    return list({kernel.name: kernel for kernel in found}.values())


def choose_kernel(text: str, metadata: dict[str, Any]) -> str:
    """The C++ expression of the kernel to run, such as `ns::scale<float>`. Raises `KernelFault`, which lists the
    kernels there are, when the contract leaves it open."""
    kernels = find_kernels(text)
    expressions = [str(name).strip().lstrip("& ") for name in metadata.get("name_expressions") or ()]
    wanted = str(metadata.get("kernel_name") or "").strip()
    if not wanted and len(expressions) == 1:
        wanted = expressions[0]
    if not wanted:
        if expressions:
            raise _open(f"name_expressions holds {', '.join(expressions)}: set metadata.kernel_name to one of them")
        return _only(kernels)
    if "<" not in wanted:
        instances = [name for name in expressions if name != wanted and _same_base(_base(name), wanted)]
        if len(instances) > 1:
            raise _open(f"kernel_name {wanted!r} could be {', '.join(instances)}: set it to one of them")
        wanted = instances[0] if instances else wanted
    return _qualified(wanted, kernels, text)


def _only(kernels: Sequence[GlobalFunction]) -> str:
    if len(kernels) != 1:
        raise _open(f"set metadata.kernel_name: the source has these __global__ functions: {listed(kernels)}")
    return _instance(kernels[0].name, kernels[0])


def _qualified(wanted: str, kernels: Sequence[GlobalFunction], text: str) -> str:
    """`wanted` with the namespaces the source puts it in."""
    base = _base(wanted)
    matching = [kernel for kernel in kernels if kernel.name == base]
    matching = matching or [kernel for kernel in kernels if _same_base(kernel.name, base)]
    if len(matching) > 1:
        raise _open(f"kernel_name {wanted!r} could be any of {listed(matching)}: write its namespace")
    if matching:
        return _instance(matching[0].name + wanted[len(base) :], matching[0])
    if base.rpartition("::")[2] not in re.findall(r"\w+", text) and not re.search(r'#\s*include\s*"', text):
        raise no_such_kernel(wanted, kernels)
    return wanted  # a macro or a header of the bundle may make it: the compiler knows


def _instance(expression: str, kernel: GlobalFunction) -> str:
    if kernel.is_template and "<" not in expression:
        raise _open(
            f"{kernel.name} is a template: name an instance, as in metadata.name_expressions = "
            f'["{kernel.name}<float>"] or metadata.kernel_name = "{kernel.name}<float>"'
        )
    return expression


def no_such_kernel(wanted: str, kernels: Sequence[GlobalFunction], log: str = "") -> KernelFault:
    """The fault of a name that means nothing in the source, or more than one thing. `log`: what a compiler said of
    it."""
    said = first_error_first(log).partition("\n")[0].partition("error")[2].lstrip(": ")
    if _base(wanted) in [kernel.name for kernel in kernels]:
        message = f"{wanted!r} does not name one __global__ function: {said or 'it is ambiguous'}"
    else:
        message = f"no __global__ function {wanted!r} in the source; it has {listed(kernels)}"
    return KernelFault("compile_error", message, details=log[:8000] or None)


def listed(kernels: Sequence[GlobalFunction]) -> str:
    """The kernels' names, for a message."""
    return ", ".join(kernel.shown for kernel in kernels) or "none"


def _base(expression: str) -> str:
    return expression.partition("<")[0].strip()


def _same_base(name: str, other: str) -> bool:
    return name == other or name.endswith(f"::{other}") or other.endswith(f"::{name}")


def _open(message: str) -> KernelFault:
    return KernelFault("compile_error", message)


def _bare(text: str) -> str:
    """The source without comments, string contents and preprocessor lines, line breaks kept."""

    def blank(match: re.Match[str]) -> str:
        return '""' if match[0].startswith('"') else " " + "\n" * match[0].count("\n")

    return _DIRECTIVE.sub(blank, _COMMENT_OR_TEXT.sub(blank, text))


def _function_name(code: str, start: int) -> str | None:
    """The function declared after `__global__`: the name whose parentheses a body or a semicolon follows. Others, like
    `__launch_bounds__(256)`, are attributes."""
    position = start
    while (match := _CALLISH.search(code, position)) is not None and match[1] is not None:
        position = _closing(code, match.end())
        if code[position:].lstrip()[:1] in ("{", ";"):
            return match[1]
    return None


def _closing(code: str, position: int) -> int:
    depth = 1
    while position < len(code) and depth:
        depth += {"(": 1, ")": -1}.get(code[position], 0)
        position += 1
    return position
