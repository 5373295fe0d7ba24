"""Makes a compiler's output readable: what went wrong first, paths as the bundle's author knows them."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

from daemon.executor.source.advice import tmp_limit

_LONGEST = 6000
_ERROR = re.compile(r"\berror\b\s*(#?\w*)\s*:|\bundefined reference\b", re.IGNORECASE)

# At a place of the source: `main.cpp:3:5: error: …`, `cuda.cu(9): error: …`. A fatal error may be a full disk.
_PLACED_ERROR = re.compile(r"^\S.*?(?::\d+(?::\d+)?|\(\d+\)): error\b", re.MULTILINE)


def without_folders(log: str, folders: Iterable[Path]) -> str:
    """`log` with the paths below `folders` shown relative to them."""
    for folder in sorted(folders, key=lambda path: -len(str(path))):
        log = log.replace(f"{folder}/", "")
    return log


def first_error_first(log: str) -> str:
    """`log` from the first line that speaks of an error, cut to a length; all of it where no line does. Where a
    compiler found no space, with how much there is."""
    lines = log.strip().splitlines()
    start = next((number for number, line in enumerate(lines) if _ERROR.search(line)), 0)
    return "\n".join(lines[start:])[:_LONGEST] + (f" ({tmp_limit()})" if os.strerror(errno.ENOSPC) in log else "")


def is_final(log: str) -> bool:
    """Whether a compiler found something wrong at a place of the source, which the same source would have again. A
    process that was killed, memory or a disk that did not suffice are reported in other words. The text is all there is
    to go by."""
    return _PLACED_ERROR.search(log) is not None
