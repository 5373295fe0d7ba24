"""Who may call: names, roles and tokens. The file keeps only what a token hashes to.

One line a token: `NAME ROLE SHA256`; of one that was revoked `# revoked NAME`. It is read again whenever it changes, so
a revoked token stops at once. A token is 256 random bits, so a plain hash of it cannot be turned back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from daemon import callers, fsio
from daemon.callers import TOKEN_LINE
from daemon.config import Settings
from daemon.errors import OperatorError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Role(StrEnum):
    """What a caller may do: `submit` jobs, read, and cancel its own; `admin` also others' and cleanup."""

    SUBMIT = "submit"
    ADMIN = "admin"


@dataclass(frozen=True)
class Caller:
    """Who a request comes from. `secret`: something that only servers and whoever has the token can know. It is empty
    where there are no tokens."""

    name: str
    role: Role
    secret: str = field(default="", repr=False)

    @property
    def tag(self) -> str:
        """Eight hex digits that the ids of this caller's jobs end in: so a job says whose it is, on every host."""
        return callers.tag_of(self.name)

    def owns(self, job_id: str) -> bool:
        return self.role is Role.ADMIN or job_id.endswith(self.tag)


LOCAL = Caller("local", Role.ADMIN)  # everybody, on a loopback address without tokens


class Tokens:
    """The tokens of one file. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._callers: dict[str, Caller] = {}
        self._were_used = False

    @classmethod
    def of(cls, settings: Settings) -> Tokens:
        """Those that `settings` name."""
        return cls(callers.tokens_file(settings))

    @property
    def are_used(self) -> bool:
        """Whether there ever was a token here. After the last one was revoked nobody gets in any more, instead of
        everybody; nor while a file that was there is away, with the disk it is on, say."""
        try:
            self._were_used = self._were_used or self.path.exists()
        except OSError:  # it may well be there
            return True
        return self._were_used

    def callers(self) -> tuple[Caller, ...]:
        """Everybody who has a token, by name. Raises `OperatorError` for a file that cannot be read."""
        return tuple(sorted(self._current().values(), key=lambda caller: caller.name))

    def caller(self, token: str) -> Caller | None:
        """Whose token this is; None if it is nobody's. Raises `OperatorError` for a file that cannot be read."""
        return self._current().get(_digest(token))

    def add(self, name: str, role: Role) -> str:
        """A new token, shown this once. Raises `OperatorError` for a name that is taken or no name."""
        if not _NAME.fullmatch(name):
            raise OperatorError(f"{name!r} cannot name a token", hint="use letters, digits, dots, dashes, underscores")
        with self._alone():
            known = self._current()
            if any(caller.name == name for caller in known.values()):
                raise OperatorError(f"there is a token {name} already", hint=f"type: evald token --revoke {name}")
            if other := _tagged_alike(name, {*(caller.name for caller in known.values()), *self._revoked()} - {name}):
                raise OperatorError(
                    f"a token {name} could read and cancel the jobs of {other}: the ids of both would end alike",
                    hint="use another name; whoever asked for this one may have looked for it",
                )
            token = f"evald_{secrets.token_urlsafe(32)}"
            digest = _digest(token)
            self._write({**known, digest: Caller(name, role, digest)})
        return token

    def revoke(self, name: str) -> None:
        """Forget a token. Raises `OperatorError` when there is none of this name."""
        with self._alone():
            known = self._current()
            left = {digest: caller for digest, caller in known.items() if caller.name != name}
            if left == known:
                listed = ", ".join(caller.name for caller in known.values()) or "none"
                raise OperatorError(f"there is no token {name}", hint=f"there are: {listed}")
            self._write(left, revoked=name)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep others from changing the file during the block. Raises `OperatorError` where it cannot be changed at
        all."""
        try:
            place = self.path.with_name(f".{self.path.name}.lock")
            lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._hand_over(place)
        except OSError as error:
            raise OperatorError(
                f"cannot write the tokens to {self.path}: {error.strerror}", hint=_hint(error)
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._stamp = None  # what another has written within the clock's tick must be seen
            yield
        finally:
            os.close(lock)

    def _current(self) -> dict[str, Caller]:
        with self._lock:
            try:
                status = self.path.stat()
                stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
                if stamp != self._stamp:
                    self._callers, self._stamp = _read(self.path), stamp
            except FileNotFoundError:
                self._callers, self._stamp = {}, None
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise OperatorError(f"cannot read the tokens in {self.path}: {reason}", hint=_hint(error)) from error
            return self._callers

    def _write(self, known: dict[str, Caller], *, revoked: str | None = None) -> None:
        """Who had a token stays known by name: jobs of theirs are there still."""
        there = {caller.name for caller in known.values()}
        try:
            before = [name for name in self._revoked() if name not in there | {revoked}]
            text = "".join(f"# revoked {name}\n" for name in (*before, *([revoked] if revoked else ())))
            text += "".join(f"{caller.name} {caller.role} {digest}\n" for digest, caller in known.items())
            fsio.write_atomic(self.path, text.encode(), mode=0o600)
            self._hand_over(self.path)
        except OSError as error:
            raise OperatorError(
                f"cannot write the tokens to {self.path}: {error.strerror}", hint=_hint(error)
            ) from error

    def _revoked(self) -> list[str]:
        """Names of those who had a token; whoever lost it last stands last. Raises `OSError` if the file cannot be
        read."""
        lines = self.path.read_text("utf-8").splitlines() if self.path.exists() else []
        return [match["name"] for line in lines if (match := callers.REVOKED_LINE.fullmatch(line.strip()))]

    def _hand_over(self, made: Path) -> None:
        """Give a file to the owner of its folder: it may have been made with sudo, for a server that runs as that
        user."""
        if os.geteuid() == 0:
            folder = self.path.parent.stat()
            os.chown(made, folder.st_uid, folder.st_gid, follow_symlinks=False)


def _tagged_alike(name: str, others: Iterable[str]) -> str:
    """Whose jobs have ids with the tag that the ids of `name` would have; empty if nobody's. A tag is 32 bits, so a
    name with somebody's tag is found in minutes."""
    tag = callers.tag_of(name)
    if tag == LOCAL.tag:
        return "whoever called before there were tokens"
    return next((other for other in others if callers.tag_of(other) == tag), "")


def _hint(error: Exception) -> str | None:
    if isinstance(error, PermissionError):
        return "tokens are for the user that the server runs as; evald config says what set the folder"
    return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> dict[str, Caller]:
    found = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = TOKEN_LINE.fullmatch(line.strip())
        if match is None or match["role"] not in list(Role):
            raise OperatorError(f"{path}:{number}: not a token line", hint="write it with: evald token NAME")
        found[match["digest"]] = Caller(match["name"], Role(match["role"]), match["digest"])
    return found
