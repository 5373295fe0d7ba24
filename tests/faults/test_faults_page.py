"""The page of faults names tests; every one of them is there, and every file of this folder is named."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reference/faults.md"
_NAMED = re.compile(r"`([\w/]+\.py)(?:::(?:\w+::)?(\w+))?`")
_BUNDLE = re.compile(r"`(tests/(?:gpu/bundles|corpus/\w+)/[\w-]+)`")


def names_in_file(path: Path) -> set[str]:
    """Names of the functions and classes of a test file, methods included."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def missing(text: str) -> list[str]:
    """What `text` names and nobody has written."""
    found = []
    for file, test in _NAMED.findall(text):
        path = ROOT / "tests" / file
        if not path.is_file() or (test and test not in names_in_file(path)):
            found.append(f"{file}::{test}" if test else file)
    found += [name for name in _BUNDLE.findall(text) if not (ROOT / name).is_dir()]
    return found


def test_every_test_and_bundle_that_the_page_names_exists() -> None:
    text = PAGE.read_text("utf-8")
    assert len(_NAMED.findall(text)) > 80
    assert missing(text) == []


def test_a_name_that_is_gone_would_be_noticed() -> None:
    bundles = ["tests/gpu/bundles/gone", "tests/corpus/hostile/gone"]
    files = [
        "faults/test_faults_page.py::test_gone",
        "faults/gone.py",
        "db/test_db_connection.py::TestSqlite::test_gone",
    ]
    text = " ".join(f"`{name}`" for name in (*files, *bundles))
    assert missing(text) == [*files[:2], "db/test_db_connection.py::test_gone", *bundles]
    assert missing("`faults/test_faults_page.py::test_a_name_that_is_gone_would_be_noticed`") == []


def test_every_file_of_this_folder_is_named_on_the_page() -> None:
    named = {Path(file).name for file, _ in _NAMED.findall(PAGE.read_text("utf-8"))}
    files = {path.name for path in Path(__file__).parent.glob("test_*.py")}
    assert files - named == set()
