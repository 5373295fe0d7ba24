"""One look at a dropped entry: is it complete, and did it change since the last look?

Sizes are read from an open descriptor: an NFS client may show old ones until a file is opened. No link is followed,
even if a folder is replaced by a link during the look: names are opened below an open folder. Only folders and regular
files are opened, and the work is bounded, whatever somebody drops.
"""

from __future__ import annotations

import json
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

from daemon import onemount
from daemon.contract import CONTRACT_FILE
from daemon.intake import regular, trailer
from daemon.intake.admission import DEPTH_LIMIT
from daemon.intake.names import Form, bundle_name, form_of, is_rsync_temporary, readable

_NAME_LIKENESS = 0.85
_ENTRY_LIMIT = 5000
_JSON_LIMIT_BYTES = 1024 * 1024
_NOT_THERE = (0, 0)


@dataclass(frozen=True)
class Look:
    """What one look saw.

    `tree` and `core` are fingerprints (sizes, times, names) of everything, and of what the contract names. `complete`:
    all of it is there, as far as its content tells. `blocked`: something is certainly missing, so being quiet proves
    nothing. `reason` is fit for logs and databases, whatever the names in it are.
    """

    tree: int
    core: int
    complete: bool
    blocked: bool
    reason: str


def look_at(path: Path, mode: int) -> Look:
    """Look at a folder or a regular file. Raises `OSError` when it cannot be read."""
    return _look_at_folder(path) if stat.S_ISDIR(mode) else _look_at_file(path)


def identity(path: Path, status: os.stat_result) -> int:
    """What tells an entry from the next one of its name, and from itself after it was rewritten. `status`: its `lstat`.
    Raises `OSError`.

    The inode alone does not: the next folder may get the same one at once. For a folder the ctime counts, which no
    sender can set. A file's ctime changes with every hard link to it, so its size and mtime count.
    """
    changed = status.st_ctime_ns if stat.S_ISDIR(status.st_mode) else _fingerprint(path)
    return hash((status.st_ino, changed))


def changed_s(path: Path, mode: int) -> float:
    """When anything in it last changed, by its ctimes: seconds since 1970 by the file system's clock. Unlike an mtime
    nobody can set a ctime back. Raises `OSError` when something vanishes meanwhile.
    """
    times = [onemount.status(path).st_ctime]
    if stat.S_ISDIR(mode):
        with regular.opened_folder(path) as top:
            times += [place.status().st_ctime for place in _below(top)]
    return max(times)


def _look_at_file(path: Path) -> Look:
    fingerprint = hash(_fingerprint(path))
    form = form_of(bundle_name(path.name))
    if form is Form.JSON:
        complete, reason = _read_json(path) is not None, "not complete JSON yet"
    elif form is Form.UNKNOWN:
        complete, reason = False, "not a bundle by its name; taken when it is quiet, to be rejected"
    else:
        complete, reason = trailer.is_intact(path, form), "the archive has no end yet"
    return Look(fingerprint, fingerprint, complete, False, "" if complete else reason)


def _look_at_folder(path: Path) -> Look:
    with regular.opened_folder(path) as top:
        seen = {place.path: (-1, 0) if place.is_folder else place.fingerprint() for place in _below(top)}
        if len(seen) >= _ENTRY_LIMIT and (contract := _fingerprint(CONTRACT_FILE, dir_fd=top)) != _NOT_THERE:
            seen[CONTRACT_FILE] = contract  # which may lie beyond the cap
        document = _read_json(CONTRACT_FILE, dir_fd=top) if CONTRACT_FILE in seen else None
    tree = hash(frozenset(seen.items()))
    if CONTRACT_FILE not in seen:
        return _without_contract(seen, tree)
    named = sorted(set(_source_files(document)))
    missing = [name for name in named if seen.get(name, _NOT_THERE)[0] == 0 and name != CONTRACT_FILE]
    core = hash(tuple(seen.get(name) for name in (CONTRACT_FILE, *named)))
    temporary = next((name for name in seen if is_rsync_temporary(posixpath.basename(name))), None)
    if temporary:
        return Look(tree, core, False, True, f"rsync is still writing {readable(temporary)}")
    if document is not None and not missing:
        return Look(tree, core, True, False, "")
    reason = f"{readable(missing[0])} is not there yet" if missing else f"{CONTRACT_FILE} is not complete JSON yet"
    return Look(tree, core, False, False, reason)


def _without_contract(seen: dict[str, tuple[int, int]], tree: int) -> Look:
    """A misspelt contract, or one below a leading folder, is taken once quiet; else the contract may still come."""
    lower = {name.lower(): name for name in seen if not is_rsync_temporary(name)}
    nearest = get_close_matches(CONTRACT_FILE, lower, n=1, cutoff=_NAME_LIKENESS)
    below = [name for name in seen if posixpath.basename(name) == CONTRACT_FILE and name.count("/") == 1]
    if nearest:
        return Look(tree, tree, False, False, f"no {CONTRACT_FILE}, only {readable(lower[nearest[0]])}")
    if below:
        return Look(tree, tree, False, False, f"{CONTRACT_FILE} is one folder down, in {readable(below[0])}")
    return Look(tree, tree, False, True, f"waits for its {CONTRACT_FILE}")


@dataclass(frozen=True, slots=True)
class _Place:
    """Something below a folder: its path from there, and its name in the open folder `level`, as long as that is
    open."""

    path: str
    level: int
    name: str
    is_folder: bool

    def status(self) -> os.stat_result:
        return onemount.status(self.name, dir_fd=self.level)

    def fingerprint(self) -> tuple[int, int]:
        return _fingerprint(self.name, dir_fd=self.level)


def _below(top: int) -> Iterator[_Place]:
    """What is below the open folder `top`, up to a cap."""
    return islice(_walk(top, ""), _ENTRY_LIMIT)


def _walk(level: int, prefix: str) -> Iterator[_Place]:
    """Each folder is opened once, below the folder that it is in: opening takes a while on a file server."""
    folders = []
    with os.scandir(level) as entries:
        for entry in entries:
            place = _Place(prefix + entry.name, level, entry.name, entry.is_dir(follow_symlinks=False))
            if place.is_folder and place.path.count("/") < DEPTH_LIMIT:
                folders.append(entry.name)
            yield place
    for name in folders:
        with regular.opened_folder(name, dir_fd=level) as below:
            yield from _walk(below, f"{prefix}{name}/")


def _fingerprint(path: Path | str, *, dir_fd: int | None = None) -> tuple[int, int]:
    """Size in bytes and mtime in ns. What is no regular file counts with size -1, what vanished with zeros."""
    try:
        status = onemount.status(path, dir_fd=dir_fd)
        if not stat.S_ISREG(status.st_mode):
            return -1, status.st_mtime_ns
    except FileNotFoundError:
        return _NOT_THERE
    try:
        descriptor = onemount.open_at(path, regular.OPEN_FLAGS, dir_fd=dir_fd)
    except OSError:
        return status.st_size, status.st_mtime_ns
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    return status.st_size, status.st_mtime_ns


def _read_json(path: Path | str, *, dir_fd: int | None = None) -> Any | None:
    """The document, if the file holds complete JSON of modest size; else None. A large file is taken once it is
    quiet."""
    try:
        with regular.opened(path, dir_fd=dir_fd) as stream:
            content = stream.read(_JSON_LIMIT_BYTES + 1)
        return json.loads(content) if len(content) <= _JSON_LIMIT_BYTES else None
    except (ValueError, RecursionError, OSError):
        return None


def _source_files(document: Any) -> Iterator[str]:
    """Every `source_file` anywhere in the document, as a clean relative path; unsafe ones are judged later."""
    waiting = [document]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
            name = value.get("source_file")
            path = posixpath.normpath(name) if isinstance(name, str) and name else "/"
            if not path.startswith(("/", "../")) and path not in (".", ".."):
                yield path
