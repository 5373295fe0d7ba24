"""Whole-number expressions over the symbols of a case: `ceildiv(N, 256) * 2`.

Python's grammar is used to read them and nothing of Python to run them: only the listed nodes are understood, each
intermediate value is capped, and length and depth are bounded before anything is looked at.
"""

from __future__ import annotations

import ast
import keyword
import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache, partial

from daemon.contract import syntax
from daemon.contract.problems import Suggestion, nearest, settled, shown
from daemon.contract.rewrites import meant_by

MAX_CHARACTERS = 256
MAX_DEPTH = 32
MAX_MAGNITUDE = 2**63 - 1


class ExpressionError(ValueError):
    """An expression that cannot be read or has no value. `suggest` tells what was probably meant; `unbound` is the name
    that has no value."""

    def __init__(self, message: str, suggestion: Suggestion = None, *, unbound: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.unbound = unbound
        self._suggestion = suggestion

    def suggest(self) -> str | None:
        """What was probably meant, or None. Call it only for what is shown: it takes milliseconds, and a contract may
        have a hundred thousand expressions."""
        return settled(self._suggestion)


def _ceildiv(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


_OPERATORS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_FUNCTIONS: Mapping[str, Callable[..., int]] = {"ceildiv": _ceildiv, "min": min, "max": max}
_TOKEN = re.compile(r"[ \t]+|[A-Za-z_][A-Za-z_0-9]*|[0-9]++(?![A-Za-z_])|//|[-+*%(),]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_INSTEAD = {"/": "//"}
_GRAMMAR = "only whole numbers, names, + - * // % ceildiv(a, b) min max and parentheses are understood"


def reserved_name(name: str) -> str | None:
    """Why `name` cannot be a symbol, or None if it can."""
    if not _NAME.fullmatch(name) or len(name) > MAX_CHARACTERS:
        return "a symbol is made of letters, digits and _, and does not start with a digit"
    if name in _FUNCTIONS or keyword.iskeyword(name) or name.lower() in ("inf", "infinity", "nan"):
        return f"{name!r} has a meaning of its own in expressions"
    return None


@lru_cache(maxsize=4096)
def parse_expression(text: str) -> ast.expr:
    """The checked syntax tree of `text`. Raises `ExpressionError`."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"an expression may have at most {MAX_CHARACTERS} characters, this has {len(text)}")
    try:
        return _parsed(text)
    except ExpressionError as error:
        raise ExpressionError(error.message, partial(_meant, text, error)) from error


def _meant(text: str, error: ExpressionError) -> str | None:
    return meant_by(text, _is_expression) or error.suggest()


def _is_expression(text: str) -> bool:
    try:
        _parsed(text)
    except ExpressionError:
        return False
    return True


def _parsed(text: str) -> ast.expr:
    _check_tokens(text)
    try:
        tree = syntax.parsed(text)
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise ExpressionError(f"{shown(text)} is not an expression: {_GRAMMAR}") from error
    _check_node(tree, 0)
    return tree


def names_in(text: str) -> frozenset[str]:
    """The symbols that `text` uses. Raises `ExpressionError`."""
    nodes = ast.walk(parse_expression(text))
    return frozenset(node.id for node in nodes if isinstance(node, ast.Name)) - frozenset(_FUNCTIONS)


def evaluate(text: str, bind: Mapping[str, int]) -> int:
    """The value of `text` where `bind` gives the symbols. Raises `ExpressionError`; a value is never beyond 64 bits."""
    return _value(parse_expression(text), bind)


def _check_tokens(text: str) -> None:
    position = 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            bad = text[position]
            raise ExpressionError(f"{bad!r} in {shown(text)} is not understood: {_GRAMMAR}", _INSTEAD.get(bad))
        position = token.end()


def _check_node(node: ast.expr, depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ExpressionError(f"the expression is nested more than {MAX_DEPTH} deep")
    match node:
        case ast.Constant(value=int() as number) if not isinstance(number, bool):
            _capped(number)
        case ast.Name():
            pass
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check_node(operand, depth + 1)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            _check_node(left, depth + 1)
            _check_node(right, depth + 1)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
            _check_call(name, arguments)
            for argument in arguments:
                _check_node(argument, depth + 1)
        case _:
            raise ExpressionError(f"{shown(ast.unparse(node))} is not allowed: {_GRAMMAR}")


def _check_call(name: str, arguments: list[ast.expr]) -> None:
    if name not in _FUNCTIONS:
        raise ExpressionError(f"there is no function {name!r}: {_GRAMMAR}", nearest(name, _FUNCTIONS))
    if name == "ceildiv" and len(arguments) != 2:  # noqa: PLR2004 - dividend and divisor
        raise ExpressionError(f"ceildiv takes two numbers, not {len(arguments)}")
    if not arguments:
        raise ExpressionError(f"{name} needs at least one number")


def _value(node: ast.expr, bind: Mapping[str, int]) -> int:
    """The value of a node that `_check_node` has seen: whatever is not matched here cannot occur."""
    match node:
        case ast.Constant(value=int() as number):
            return number
        case ast.Name(id=name):
            return _lookup(name, bind)
        case ast.UnaryOp(operand=operand):
            return _capped(-_value(operand, bind))
        case ast.BinOp(left=left, op=op, right=right):
            return _applied(_OPERATORS[type(op)], [_value(left, bind), _value(right, bind)], node)
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _applied(_FUNCTIONS[name], [_value(a, bind) for a in arguments], node)
    raise ExpressionError(f"{shown(ast.unparse(node))} is not allowed: {_GRAMMAR}")


def _applied(function: Callable[..., int], values: list[int], node: ast.expr) -> int:
    try:
        return _capped(function(*values) if len(values) > 1 else values[0])
    except ZeroDivisionError as error:
        raise ExpressionError(f"{shown(ast.unparse(node))} divides by zero") from error


def _lookup(name: str, bind: Mapping[str, int]) -> int:
    if name in bind:
        return bind[name]
    have = f"bound here: {', '.join(sorted(bind))}" if bind else "nothing is bound here; give it a value in `cases`"
    raise ExpressionError(f"{name!r} is not bound ({have})", partial(nearest, name, bind), unbound=name)


def _capped(number: int) -> int:
    if abs(number) > MAX_MAGNITUDE:
        raise ExpressionError("a value in the expression is beyond 64 bits")
    return number
