"""Who sends over HTTP. For the file system they are all one user, the server's. So the ids of a caller's jobs end in a
tag that is computed from the name of the token: a job says whose it is.

A tag is no secret, and whoever drops bundles chooses their ids. So a tag counts only for what the server's user has
dropped, and only if somebody has, or had, a token of that name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from daemon.config import Settings
from daemon.paths import expanded

TAG_DIGITS = 8
MOST = 4000  # queries name each: with 40,000 a lease took 0.7 s, and some SQLite takes no more than 32,766
Sender = tuple[int | None, str]  # the owner of a bundle; if that is the HTTP server, which caller
TOKEN_LINE = re.compile(r"(?P<name>\S+) (?P<role>\S+) (?P<digest>[0-9a-f]{64})")
REVOKED_LINE = re.compile(r"# revoked (?P<name>\S+)")


def tag_of(name: str) -> str:
    """The tag of this caller: eight hex digits that the ids of its jobs end in, on every host."""
    return hashlib.sha256(f"evald caller {name}".encode()).hexdigest()[:TAG_DIGITS]


@dataclass(frozen=True)
class Callers:
    """`names`: by their tags. `server_uid`: whose the bundles are that come over HTTP."""

    names: Mapping[str, str] = field(default_factory=dict)
    server_uid: int | None = None

    def tag(self, job_id: str | None, submitter_uid: int | None) -> str:
        """Of the caller whose job this is; empty where it did not come over HTTP, or nobody knows."""
        tag = (job_id or "")[-TAG_DIGITS:]
        return tag if tag in self.names and submitter_uid == self.server_uid else ""

    def sender(self, job_id: str | None, submitter_uid: int | None) -> Sender:
        """Who takes turns with others."""
        return submitter_uid, self.tag(job_id, submitter_uid)


NOBODY = Callers()


def tokens_file(settings: Settings) -> Path:
    """Where their tokens are."""
    given = settings.http.tokens_file
    return expanded(given).absolute() if given else settings.paths.state / "tokens"


def known(settings: Settings) -> Callers:
    """The callers of the tokens file, revoked ones too; nobody if there is no file, or we may not read it. The server's
    user is taken to be the owner of `work/`, as that of the daemon which makes it."""
    try:
        text = tokens_file(settings).read_text("utf-8", "replace")
        uid = settings.paths.work.stat().st_uid
    except OSError:
        return NOBODY
    return Callers(_names_in(text), uid)


@lru_cache(maxsize=1)
def _names_in(text: str) -> Mapping[str, str]:
    """Names of tokens by their tags: all that are valid, and of the others those that were revoked last. Kept, because
    it is asked for at every lease and every look into the inbox, and mostly the same."""
    lines = [line.strip() for line in text.splitlines()]
    found = [match["name"] for line in lines if (match := TOKEN_LINE.fullmatch(line)) is not None]
    revoked = [match["name"] for line in lines if (match := REVOKED_LINE.fullmatch(line)) is not None]
    known = [*found, *reversed(revoked)][: max(len(found), MOST)]
    return MappingProxyType({tag_of(name): name for name in known})
