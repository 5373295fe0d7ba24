"""What the names in a spool say: ignored or a bundle, which form, whose job id. Pure text, no I/O.

Names come from a file system, so they may hold anything but `/` and NUL; bytes that are no UTF-8 arrive as surrogates.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from enum import StrEnum

from daemon.contract import CONTRACT_FILE

NAME_LIMIT_BYTES = 255
JOB_ID = re.compile(r"[0-9a-f]{32}")

_WITH_JOB_ID = re.compile(r"(?P<name>.+)@(?P<job_id>[0-9a-f]{32})", re.DOTALL)
_WITH_OWNER = re.compile(r"(?P<name>.+)@[A-Za-z0-9._-]+-[0-9a-z]+-[0-9]+-[0-9a-f]{32}", re.DOTALL)
DRAFT_PREFIX, DRAFT_SUFFIX = ".evald-", ".tmp"  # of what `evald submit` is still writing
_IGNORED_ENDINGS = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".uploading", "~")  # of uploads, mostly
# Notes that explain an inbox, and what Windows leaves in a share that was looked at. No `readme`: that may be a bundle.
_NOTES = frozenset(("readme.md", "readme.txt", "readme.rst", "desktop.ini", "thumbs.db"))
_RSYNC_TEMPORARY = re.compile(r"\..+\.[A-Za-z0-9]{6}", re.DOTALL)


class Form(StrEnum):
    """How a dropped file is packed, by its name. A folder is a folder whatever it is called."""

    JSON = "json"
    TAR = "tar"
    ZIP = "zip"
    UNKNOWN = "unknown"


FORMS = f"a folder with a {CONTRACT_FILE}, a .tar, .tar.gz, .tgz or .zip of one, or a .json file"
NO_CONTRACT = "is missing; a bundle needs one beside its sources (evald new writes one to start from)"
_ENDINGS = {".json": Form.JSON, ".tar": Form.TAR, ".tar.gz": Form.TAR, ".tgz": Form.TAR, ".zip": Form.ZIP}


def is_ignored(name: str) -> bool:
    """True for hidden and temporary names, and for notes that explain an inbox: never a bundle."""
    lower = name.lower()
    return name.startswith(".") or name == "README" or lower in _NOTES or lower.endswith(_IGNORED_ENDINGS)


def is_rsync_temporary(name: str) -> bool:
    """True for `.kernel.py.A1b2C3`: the name under which rsync writes a file that is not complete yet."""
    return _RSYNC_TEMPORARY.fullmatch(name) is not None


def split_job_id(name: str) -> tuple[str, str | None]:
    """`("vec_add", "0123…")` for `vec_add@0123…`, the job id its sender chose; else the name as it is and None."""
    match = _WITH_JOB_ID.fullmatch(name)
    return (match["name"], match["job_id"]) if match else (name, None)


def bundle_name(entry_name: str) -> str:
    """The name a bundle was dropped under, without the suffixes of the inbox and of `work/`."""
    owned = _WITH_OWNER.fullmatch(entry_name)
    return split_job_id(owned["name"] if owned else entry_name)[0]


def ending_of(name: str) -> str:
    """The part of a name that says its form (`.tar.gz`), empty when it says none."""
    lower = name.lower()
    ending = max((known for known in _ENDINGS if lower.endswith(known)), key=len, default="")
    return name[len(name) - len(ending) :]


def with_any_ending(name: str) -> tuple[str, ...]:
    """The names that a bundle which is called `name` may have been dropped under."""
    return (name, *(name + ending for ending in _ENDINGS))


def form_of(name: str) -> Form:
    """The form a dropped file of this bundle name must have."""
    return _ENDINGS.get(ending_of(name).lower(), Form.UNKNOWN)


def fit(name: str, suffix: str) -> str:
    """`name + suffix`, with the name cut before its ending where the whole would be too long for a file system."""
    room = NAME_LIMIT_BYTES - len(os.fsencode(suffix))
    if len(os.fsencode(name)) <= room:
        return name + suffix
    ending = ending_of(name)
    room -= len(os.fsencode(ending))
    kept, used = [], 0
    for character in name:
        used += len(os.fsencode(character))
        if used > room:
            break
        kept.append(character)
    return "".join(kept) + ending + suffix


def readable(name: str) -> str:
    """The name as text that fits in a log line and a database: what is unprintable or no UTF-8 becomes an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in name
    )


def make_job_id() -> str:
    """A fresh job id, 32 hex digits, that sorts by the time it was made (RFC 9562 version 7, method 3)."""
    milliseconds, rest_ns = divmod(time.time_ns(), 1_000_000)
    fraction = rest_ns * 4096 // 1_000_000
    value = (milliseconds & (1 << 48) - 1) << 80 | 0x7 << 76 | fraction << 64 | 0b10 << 62 | secrets.randbits(62)
    return f"{value:032x}"
