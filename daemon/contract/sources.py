"""Where a kernel's source text comes from: inline, or a file of the bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from daemon.contract.document import CONTRACT_FILE
from daemon.contract.problems import ProblemLog, nearest, shown
from daemon.contract.request import KernelSpec

_MAX_FILES_COMPARED = 2000


def inline_source(text: str, files: Mapping[str, bytes], limit_bytes: int, field: str, log: ProblemLog) -> str:
    """`text`, checked. `files`: those of the bundle, whose names are no sources."""
    size = len(text.encode())
    if size > limit_bytes:
        log.add(field, f"the source has {size} bytes, the limit is {limit_bytes}")
    elif not text.strip():
        log.add(field, "the source is empty")
    elif "." in text.strip() and text.strip() in files:
        log.add(field, f"{shown(text.strip())} is the name of a file, here stands its text; source_file takes the name")
    return text


def file_source(
    path: str, files: Mapping[str, bytes], limit_bytes: int, field: str, log: ProblemLog
) -> tuple[str, str] | None:
    """Path inside the bundle (normal form) and text of the named file, or None with the problem noted."""
    reason = _unsafe(path)
    if reason:
        log.add(field, f"{shown(path)} {reason}")
        return None
    name = str(PurePosixPath(path))
    if name not in files:
        known = [file for _, file in zip(range(_MAX_FILES_COMPARED), files, strict=False)]
        is_alone = not set(known) - {CONTRACT_FILE}
        alone = ": it is nothing but its contract; add the file, or give its text as source_code" if is_alone else ""
        log.add(field, f"the bundle has no file {shown(name)}{alone}", nearest(name, known))
        return None
    content = files[name]
    if len(content) > limit_bytes:
        log.add(field, f"{shown(name)} has {len(content)} bytes, the limit for a source is {limit_bytes}")
        return None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        log.add(field, f"{shown(name)} is not UTF-8 text (byte {error.start})")
        return None
    if "\0" in text:
        log.add(field, f"{shown(name)} contains the character NUL")
    elif not text.strip():
        log.add(field, f"{shown(name)} is empty")
    return name, text


def _unsafe(path: str) -> str | None:
    """Why `path` cannot name a file inside the bundle."""
    if "\\" in path:
        return "has a backslash; folders are separated by '/'"
    if path.startswith("/"):
        return "is an absolute path; name a file inside the bundle"
    parts = PurePosixPath(path).parts
    if ".." in parts:
        return "leaves the bundle ('..')"
    return None if parts else "names no file"


def source_digest(kernels: Iterable[KernelSpec | None]) -> str:
    """SHA-256 over kernel type and source text of each side, candidate first.

    Names, cases, tolerances and files that the sources may include have no part in it. Two bundles with the same
    kernels share it, whether the text is inline or in a file.
    """
    sides = [[kernel.kernel_type, kernel.source] if kernel else None for kernel in kernels]
    return hashlib.sha256(json.dumps(sides, ensure_ascii=True).encode()).hexdigest()
