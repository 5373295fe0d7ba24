"""What was meant by Python that stands where an expression over a case's symbols belongs: `triton.cdiv(N, 64)` is
`ceildiv(N, 64)`.

Nothing of it is run. It is parsed, rewritten, and shown to whoever wrote it.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable

from daemon.contract import syntax

_CEILDIVS = ("ceildiv", "cdiv", "ceil_div", "div_up", "divup", "round_up_div")
_CEILS = ("ceil",)
_TRANSPARENT = ("int",)
_FEW = 4  # a power that is written out
_SHORT = 64  # characters of a base: a power of powers of powers would become gigabytes
_WARNED_OF = re.compile(r"\\|(?<!\w)[0-9]+[A-Za-z_]")  # Python's parser would: `\d`, `1if`
_FAULTS = (SyntaxError, ValueError, MemoryError, RecursionError)


def meant_by(text: str, is_expression: Callable[[str], bool]) -> str | None:
    """The expression that was probably meant by `text`. For a tuple with several, the list of them in JSON. None where
    that cannot be told. `is_expression` has the last word."""
    if _WARNED_OF.search(text):
        return None
    try:
        parts = [ast.unparse(_Rewriter().visit(part)) for part in _parts(syntax.parsed(text))]
    except _FAULTS:
        return None
    if not parts or not all(map(is_expression, parts)):
        return None
    meant = parts[0] if len(parts) == 1 else json.dumps(parts)
    return meant if meant != text.strip() else None


def _parts(tree: ast.expr) -> list[ast.expr]:
    """The entries of what a launch of Triton's takes for a grid: a tuple, or a function of the meta arguments which
    returns one."""
    if isinstance(tree, ast.Lambda):
        tree = tree.body
    return list(tree.elts) if isinstance(tree, ast.Tuple | ast.List) else [tree]


class _Rewriter(ast.NodeTransformer):
    """Leaves what it does not know as it is."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        name, count = _last_name(node.func), len(node.args)
        if name in _CEILDIVS and count == 2 and not node.keywords:  # noqa: PLR2004 - dividend and divisor
            return _ceildiv(*node.args)
        if name in _CEILS and count == 1 and _is_quotient(node.args[0]):
            return _ceildiv(node.args[0].left, node.args[0].right)  # type: ignore[attr-defined]
        return node.args[0] if name in _TRANSPARENT and count == 1 else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        match node:
            case ast.BinOp(left=base, op=ast.Pow(), right=ast.Constant(value=int() as power)) if (
                0 < power <= _FEW and len(ast.unparse(base)) <= _SHORT
            ):
                product = base
                for _ in range(power - 1):
                    product = ast.BinOp(product, ast.Mult(), base)
                return product
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """`meta["BLOCK"]`: by the name alone."""
        match node.slice:
            case ast.Constant(value=str() as name):
                return ast.Name(name)
        return node


def _ceildiv(dividend: ast.expr, divisor: ast.expr) -> ast.Call:
    return ast.Call(ast.Name("ceildiv"), [dividend, divisor], [])


def _last_name(function: ast.expr) -> str:
    """`cdiv` of `triton.cdiv`."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_quotient(node: ast.expr) -> bool:
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
