"""Words of Python in a kernel that Triton's interpreter runs: `and`, `or`, `not`, `min`, `max`, `if` and
`float`. Triton's compiler takes the first five element by element, and no block behind the others. To the interpreter
any block is true: of `(at < n) and (at > 0)` it took the second half, of `max(x, 0.0)` the zero, and of `if x > 0` one
branch.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Callable
from typing import Any

_JOINED, _NEGATED, _CALLED = "_evald_joined", "_evald_negated", "_evald_called"
_CHAINED, _DECIDED, _HELD = "_evald_chained", "_evald_decided", "_evald_held"
_METHODS = {ast.And: "logical_and", ast.Or: "logical_or"}
_AMBIGUOUS = (
    "Boolean value of Tensor with more than one value is ambiguous: no if, while or chain of comparisons takes it"
)


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
    for name, function in _FUNCTIONS.items():
        setattr(interpreter, name, function)


class _Spelled(ast.NodeTransformer):
    """Calls in place of the operators, and around what decides about a branch."""

    def visit(self, node: ast.AST) -> Any:
        found = super().visit(node)
        if isinstance(found, ast.If | ast.While | ast.IfExp):
            found.test = _call(found.test, _DECIDED, [found.test])
        return found

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        return _call(node, _JOINED, [ast.Constant(_METHODS[type(node.op)]), *map(_later, node.values)])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        return _call(node, _NEGATED, [node.operand]) if isinstance(node.op, ast.Not) else node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id in {"min", "max", "float", "int"}:
            node.func, node.args = ast.Name(_CALLED, ast.Load()), [node.func, *node.args]
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        if not node.ops[1:]:
            return node
        sides = [node.left, *node.comparators]
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        return _call(node, _CHAINED, [_later(ast.Compare(left, [op], [right])) for left, op, right in pairs])

    def visit_Assert(self, node: ast.Assert) -> ast.stmt:
        self.generic_visit(node)
        node.test = _call(node.test, _HELD, [node.test])
        return node


def _later(value: ast.expr) -> ast.expr:
    nothing = ast.arguments(posonlyargs=[], args=[], kwonlyargs=[], kw_defaults=[], defaults=[])
    return ast.Lambda(nothing, value)


def _call(node: ast.expr, name: str, args: list[ast.expr]) -> ast.expr:
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


def _called(function: Any, *args: Any, **named: Any) -> Any:
    """A call of what the kernel knows by one of these names, which may be a function of its own."""
    import triton.language as tl

    if function is builtins.float or function is builtins.int:
        if args and isinstance(args[0], tl.tensor):
            kind = function.__name__
            raise TypeError(f"{kind}() takes no tensor on a GPU, and every argument but a tl.constexpr is one: .to(…)")
    elif any(map(_is_block, args)) and not named:
        if function is builtins.max:
            return functools.reduce(tl.maximum, args)
        if function is builtins.min:
            return functools.reduce(tl.minimum, args)
    return function(*args, **named)


def _chained(*parts: Callable[[], Any]) -> Any:
    value: Any = True
    for part in parts:
        value = _decided(part())
        if not value:
            break
    return value


def _decided(value: Any) -> Any:
    """What decides about a branch: one number. Raises ValueError for a block of several, with the compiler's words."""
    if _is_block(value) and value.handle.data.size != 1:
        raise ValueError(_AMBIGUOUS)
    return value


def _held(value: Any) -> bool:
    return bool(value.handle.data.all()) if _is_block(value) else bool(value)


def _is_block(value: Any) -> bool:
    import triton.language as tl

    return isinstance(value, tl.tensor) and value.type.is_block()


_FUNCTIONS = {
    _JOINED: _joined,
    _NEGATED: _negated,
    _CALLED: _called,
    _CHAINED: _chained,
    _DECIDED: _decided,
    _HELD: _held,
}
