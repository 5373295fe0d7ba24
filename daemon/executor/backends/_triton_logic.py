"""`and`, `or` and `not` of blocks where Triton's interpreter runs a kernel. `(at < n) and (at > 0)` is elementwise to
Triton's compiler. To the interpreter any block is true: it took what stands behind `and`, and nothing else.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable
from typing import Any

_JOINED, _NEGATED = "_evald_joined", "_evald_negated"
_METHODS = {ast.And: "logical_and", ast.Or: "logical_or"}


def repair() -> None:
    """Let the interpreter do as the compiler does. Idempotent; where it is built in another way than it was in Triton
    3.7, it is left as it is."""
    from triton.runtime import interpreter

    rewriter: Any = getattr(interpreter, "FunctionRewriter", None)
    plain = getattr(rewriter, "_transform_ast", None)
    if plain is None or hasattr(plain, "__wrapped__"):
        return

    @functools.wraps(plain)
    def transformed(self: Any, text: str) -> Any:
        return ast.fix_missing_locations(_Spelled().visit(plain(self, text)))

    rewriter._transform_ast = transformed
    # What the interpreter's own module holds, every kernel finds.
    setattr(interpreter, _JOINED, _joined)
    setattr(interpreter, _NEGATED, _negated)


class _Spelled(ast.NodeTransformer):
    """Calls in place of the operators."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
        later: list[ast.expr] = [ast.Lambda(nothing, value) for value in node.values]
        return _called(node, _JOINED, [ast.Constant(_METHODS[type(node.op)]), *later])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _called(node, _NEGATED, [node.operand]) if isinstance(node.op, ast.Not) else node


def _called(node: ast.expr, name: str, args: list[ast.expr]) -> ast.expr:
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), args, []), node)


def _joined(method: str, *parts: Callable[[], Any]) -> Any:
    """As `visit_BoolOp` of Triton's code generator; what one number decides is not asked further."""
    decides = method == "logical_or"
    blocks: list[Any] = []
    value: Any = None
    for part in parts:
        value = part()
        if _is_block(value):
            blocks.append(value)
        elif bool(value) is decides:
            return value
    return functools.reduce(lambda left, right: getattr(left, method)(right), blocks) if blocks else value


def _negated(value: Any) -> Any:
    return value.__not__() if _is_block(value) else not value


def _is_block(value: Any) -> bool:
    import triton.language as tl

    return isinstance(value, tl.tensor) and value.type.is_block()
