"""What may enter: path rules and caps, applied to every member of a bundle while it is copied. No I/O.

Everything wrong is collected, so the sender sees all of it; only a breached cap ends the copying at once.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import NoReturn

from daemon.config import Limits
from daemon.errors import BundleError, Problem
from daemon.intake.names import NAME_LIMIT_BYTES, readable

_PATH_LIMIT_BYTES = 1024
DEPTH_LIMIT = 32
_PROBLEM_LIMIT = 50
_TOLD_CHARS = 1024  # of a name, or of what is wrong with it
_SURROGATE = re.compile("[\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")


def path_fault(raw: str) -> str | None:
    """Why a member's path is refused, None when it is fine. Also refuses what only another system would misread."""
    parts = raw.split("/")
    size_bytes = len(raw.encode("utf-8", "replace"))
    rules = (
        (_SURROGATE.search(raw) is not None, "its name is not valid UTF-8"),
        (any(unicodedata.category(character) == "Cc" for character in raw), "its name holds a control character"),
        (raw.startswith("/"), "absolute path"),
        ("\\" in raw, "backslash in the path; use / between folders"),
        (_DRIVE.match(raw) is not None, "path with a drive letter"),
        (".." in parts, "path with .. in it"),
        (size_bytes > _PATH_LIMIT_BYTES, f"path of {size_bytes} bytes, more than {_PATH_LIMIT_BYTES}"),
        (_longest(parts) > NAME_LIMIT_BYTES, f"a name in the path is longer than {NAME_LIMIT_BYTES} bytes"),
        (len(parts) > DEPTH_LIMIT, f"more than {DEPTH_LIMIT} folders deep"),
    )
    return next((message for broken, message in rules if broken), None)


def _longest(parts: list[str]) -> int:
    return max(len(part.encode("utf-8", "replace")) for part in parts)


class Admission:
    """Counts the members and bytes of one bundle against its caps and remembers what is wrong with it.

    `byte_limit` caps the bytes that come out of the bundle; `byte_setting` names it in the message.
    """

    def __init__(self, bundle: str, limits: Limits, *, byte_limit: int, byte_setting: str) -> None:
        self._bundle = readable(bundle)
        self._limits = limits
        self._byte_limit = byte_limit
        self._byte_setting = byte_setting
        self._members: dict[str, tuple[str, bool]] = {}
        self._problems: list[Problem] = []
        self._cause: OSError | None = None
        self.total_bytes = 0

    def admit(self, raw: str, *, is_folder: bool) -> str | None:
        """The clean relative path (`a/b.py`) to copy a member to, None when it is refused or the root itself."""
        fault = path_fault(raw)
        if fault is not None:
            self.refuse(raw, fault)
            return None
        parts = [part for part in raw.split("/") if part not in ("", ".")]
        for depth in range(1, len(parts)):
            if not self._enter("/".join(parts[:depth]), is_folder=True):
                return None
        path = "/".join(parts)
        return path if parts and self._enter(path, is_folder=is_folder) else None

    def refuse(self, raw: str, message: str, cause: OSError | None = None) -> None:
        """Note that a member is not acceptable; copying goes on to find what else is wrong. `cause`: the system's error
        that says so. It becomes the cause of the `BundleError`, unless another does."""
        self._cause = self._cause or cause
        named = readable(_beginning(raw)) or self._bundle  # an archive may hold names of megabytes
        self._problems.append(Problem(named, "", _beginning(message)))
        if len(self._problems) >= _PROBLEM_LIMIT:
            self.stop(f"more than {_PROBLEM_LIMIT - 1} problems; the rest was not looked at")

    def count_bytes(self, count: int) -> None:
        """Count bytes that came out of the bundle. Raises `BundleError` once they are more than the cap."""
        self.total_bytes += count
        if self.total_bytes > self._byte_limit:
            self.stop(f"holds more than {self._byte_limit} bytes ({self._byte_setting})")

    def counted(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Pass `chunks` through, counting their bytes against the cap before they are used."""
        for chunk in chunks:
            self.count_bytes(len(chunk))
            yield chunk

    def stop(self, message: str, cause: OSError | None = None) -> NoReturn:
        """Give up on the bundle as a whole, with everything found so far."""
        problems = [*self._problems, Problem(self._bundle, "", _beginning(message))]
        raise BundleError(problems) from self._cause or cause

    def finish(self) -> None:
        """Raise `BundleError` when anything was refused."""
        if self._problems:
            raise BundleError(self._problems) from self._cause

    def _enter(self, path: str, *, is_folder: bool) -> bool:
        key = unicodedata.normalize("NFC", path).casefold()
        known = self._members.get(key)
        if known is None:
            self._members[key] = (path, is_folder)
            if len(self._members) > self._limits.file_count:
                self.stop(f"holds more than {self._limits.file_count} files and folders (limits.file_count)")
            return True
        if known[0] != path:
            self.refuse(path, f"differs from {known[0]!r} only by upper and lower case")
        elif not (is_folder and known[1]):
            self.refuse(path, "appears twice")
        return known == (path, True) and is_folder


def _beginning(text: str) -> str:
    return text if len(text) <= _TOLD_CHARS else f"{text[:_TOLD_CHARS]}…"
