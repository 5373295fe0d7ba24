"""Kernels that a function defines, and that read what is there, such as a factor or another kernel.

Triton's compiler for a GPU sees these names. Its interpreter runs a kernel's text anew, in the module alone, and says
that the name is not defined.
"""

from __future__ import annotations

import ast
import functools
from typing import Any

_MAKER = "_with_what_is_around"


def repair() -> None:
    """Let the interpreter see these names too. Idempotent. An interpreter that is built otherwise than Triton 3.7's is
    left as it is."""
    from triton.runtime import interpreter

    rewriter: Any = getattr(interpreter, "FunctionRewriter", None)
    plain = getattr(rewriter, "_compile_and_exec", None)
    if plain is None or hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def compile_within(self: Any, tree: ast.Module) -> Any:
        inner = tree.body[0] if tree.body else None
        if "<locals>" not in self.fn.__qualname__ or not isinstance(inner, ast.FunctionDef):
            return plain(self, tree)
        around = _around(self.fn)
        own, self.kwargs = self.kwargs, {**self.kwargs, **around}
        try:
            found = plain(self, _inside_a_function(inner, list(around)))
        finally:
            self.kwargs = own
        found.__defaults__, found.__kwdefaults__ = self.fn.__defaults__, self.fn.__kwdefaults__
        return found

    rewriter._compile_and_exec = compile_within


def _around(function: Any) -> dict[str, Any]:
    """What a function reads of those that it stands in, by name."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    found = {}
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it is not assigned yet
            continue
    return found


def _inside_a_function(inner: ast.FunctionDef, names: list[str]) -> ast.Module:
    """The text of `inner` in a function of those names, which is called with what they stand for. Defaults were
    evaluated where `inner` was defined, and may be of names that it does not read itself."""
    none = ast.Constant(value=None)
    inner.args.defaults = [none for _ in inner.args.defaults]
    inner.args.kw_defaults = [default and none for default in inner.args.kw_defaults]
    text = f"def {_MAKER}({', '.join(names)}):\n    return {inner.name}\n{inner.name} = {_MAKER}({', '.join(names)})\n"
    tree = ast.parse(text)
    maker = tree.body[0]
    assert isinstance(maker, ast.FunctionDef)
    maker.body.insert(0, inner)
    return ast.fix_missing_locations(tree)
