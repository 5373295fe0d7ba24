"""What stands in a kernel's text that Triton's compiler for a GPU refuses wherever it meets it, while its interpreter,
which runs Python, takes it: `0 <= at < n`, `break`, a loop over a list."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from typing import Any

_KINDS: tuple[tuple[type[ast.AST] | tuple[type[ast.AST], ...], str], ...] = (
    (ast.Break, "break"),
    (ast.Continue, "continue"),
    (ast.NamedExpr, ":="),
    (ast.Lambda, "a lambda"),
    (ast.FunctionDef, "a function within it"),
    ((ast.Dict, ast.DictComp), "a dict"),
    ((ast.Set, ast.SetComp), "a set"),
    (ast.GeneratorExp, "a generator"),
    (ast.Try, "try"),
    (ast.Raise, "raise"),
    ((ast.Import, ast.ImportFrom), "an import"),
    (ast.Delete, "del"),
    (ast.Match, "match"),
)


def refused(function: Any) -> list[tuple[str, int]]:
    """What of it no compiler for a GPU takes, in words, each with its line in the source file."""
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return []
    kernel = tree.body[0]
    if not isinstance(kernel, ast.FunctionDef):
        return []
    return [(what, first + line - 1) for what, line in _Reader(kernel).found]


class _Reader(ast.NodeVisitor):
    """Reads a kernel as the compiler does: nothing behind a `return`, and nothing that a constant may switch off, where
    the compiler may never come."""

    def __init__(self, kernel: ast.FunctionDef) -> None:
        self.found: list[tuple[str, int]] = []
        self._loops = 0
        self._constants = _constants(kernel)
        self._read(kernel.body)

    def _read(self, body: list[ast.stmt]) -> None:
        for statement in body:
            self.visit(statement)
            if isinstance(statement, ast.Return):
                return

    def _say(self, what: str, node: ast.stmt | ast.expr) -> None:
        self.found.append((what, node.lineno))

    def generic_visit(self, node: ast.AST) -> None:
        what = next((what for kinds, what in _KINDS if isinstance(node, kinds)), None)
        if what is not None and isinstance(node, ast.stmt | ast.expr):
            self._say(what, node)
        else:
            super().generic_visit(node)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        if not self._is_constant(node.test):
            self._read(node.body)
            self._read(node.orelse)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        if not self._is_constant(node.test):
            self.visit(node.body)
            self.visit(node.orelse)

    def visit_For(self, node: ast.For) -> None:
        called = node.iter.func if isinstance(node.iter, ast.Call) else None
        is_builtin = isinstance(called, ast.Name) and called.id != "range" and hasattr(builtins, called.id)
        if called is None or is_builtin:
            self._say("a loop over something else than a range", node)
        self.visit(node.iter)
        self._read_loop(node, is_unrolled="static_range" in ast.unparse(node.iter))

    def visit_While(self, node: ast.While) -> None:
        self.visit(node.test)
        self._read_loop(node, is_unrolled=False)

    def _read_loop(self, node: ast.For | ast.While, *, is_unrolled: bool) -> None:
        self._loops += not is_unrolled
        self._read(node.body)
        self._loops -= not is_unrolled
        if node.orelse:
            self._say("else of a loop", node.orelse[0])

    def visit_Return(self, node: ast.Return) -> None:
        if self._loops:
            self._say("return within a loop", node)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        if node.ops[1:]:
            self._say("a chained comparison (it does (a < b) & (b < c))", node)
        elif isinstance(node.ops[0], ast.In | ast.NotIn):
            self._say("in", node)
        self.generic_visit(node)

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Store):
            self._say("an element that is assigned to", node)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def _is_constant(self, test: ast.expr) -> bool:
        return all(one.id in self._constants for one in ast.walk(test) if isinstance(one, ast.Name))


def _constants(kernel: ast.FunctionDef) -> set[str]:
    """Every name in it but those of parameters and variables that are no `tl.constexpr`."""
    nodes = list(ast.walk(kernel))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    varying = {node.arg for node in nodes if isinstance(node, ast.arg) and not _is_constexpr(node.annotation)}
    stored = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    declared = {ast.unparse(n.target) for n in nodes if isinstance(n, ast.AnnAssign) and _is_constexpr(n.annotation)}
    return names - varying - (stored - declared)


def _is_constexpr(annotation: ast.expr | None) -> bool:
    return annotation is not None and "constexpr" in ast.unparse(annotation)
