"""What holds for our sources on every Python that evald runs on, and shows on this one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

TOP = Path(__file__).parents[2]
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sources() -> list[Path]:
    folders = ("daemon", "migrations", "tests", "bench")
    found = [path for folder in folders for path in (TOP / folder).rglob("*.py")]
    return [path for path in found if not path.is_relative_to(TOP / "tests" / "corpus") or path.parent.name == "corpus"]


def docstrings(path: Path) -> Iterator[str]:
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    yield from (ast.get_docstring(node) or "" for node in nodes if isinstance(node, DOCUMENTED))


def test_no_docstring_holds_half_a_character() -> None:
    r"""Python 3.13 indents docstrings as UTF-8, which has no place for `\udcff`, and imports no module with one."""
    found = {str(path.relative_to(TOP)) for path in sources() for text in docstrings(path) if not _is_text(text)}
    assert not found, "write r before the docstring"
    assert any(path.name == "result_document.py" for path in sources())


def _is_text(text: str) -> bool:
    return text == text.encode("utf-8", "replace").decode("utf-8")
