"""Runs of a program in which one thing after another fails, and the books that it kept of them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

HERE = Path(__file__).parent


def books_of(program: str, *words: str, env: Mapping[str, str]) -> list[dict[str, object]]:
    """The books of every run that `program`, a file beside this one, makes."""
    done = subprocess.run(
        [sys.executable, str(HERE / program), *words],
        env={**env, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        timeout=3000,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def wrong(books: list[dict[str, object]]) -> list[object]:
    return [(one["answer"], one["place"], one["ended"], one["wrong"]) for one in books if one["ended"] or one["wrong"]]
