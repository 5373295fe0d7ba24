"""Makes a compiler's output readable: what went wrong first, paths as the bundle's author knows them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

_ERROR = re.compile(r"\berror\b\s*(#?\w*)\s*:|\bundefined reference\b", re.IGNORECASE)


def without_folders(log: str, folders: Iterable[Path]) -> str:
    """`log` with the paths below `folders` shown relative to them."""
    for folder in sorted(folders, key=lambda path: -len(str(path))):
        log = log.replace(f"{folder}/", "")
    return log


def first_error_first(log: str, limit: int = 6000) -> str:
    """`log` from the first line that speaks of an error, at most `limit` characters; all of it where none does."""
    lines = log.strip().splitlines()
    start = next((number for number, line in enumerate(lines) if _ERROR.search(line)), 0)
    return "\n".join(lines[start:])[:limit]
