"""Python's parser, for texts of contracts."""

from __future__ import annotations

import ast

_TRIES = 5


def parsed(text: str) -> ast.expr:
    """The syntax tree of one expression. Raises `SyntaxError`, `ValueError`, `MemoryError`, `RecursionError`.

    CPython 3.11 counts the depth of all threads' trees in one place, and says `SystemError` now and then when two
    parse at once, whatever the text is (python/cpython#106905): then once more.
    """
    for _ in range(_TRIES - 1):
        try:
            return _parsed(text)
        except SystemError:
            continue
    return _parsed(text)


def _parsed(text: str) -> ast.expr:
    return ast.parse(text.strip(), mode="eval").body
