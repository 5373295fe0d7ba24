"""Who holds a claimed bundle, and how that is written into a name: `NAME@host-boot-pid-jobid`."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from daemon.intake import names

_HOST_LIMIT = 40
_HASH_DIGITS = 8
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_PID_SPACE = Path("/proc/self/ns/pid")
_BOOT_DIGITS = 5
_SPACE_DIGITS = 3
_ENTRY = re.compile(
    r"(?P<name>.+)@(?P<host>[A-Za-z0-9._-]{1,40})-(?P<boot>[0-9a-z]{1,8})-(?P<pid>[0-9]{1,10})-(?P<job_id>[0-9a-f]{32})",
    re.DOTALL,
)


def host_called(name: str) -> str:
    """A host's name cut down to what fits in a file name. A hash stands for what was cut off, because often only the
    ends of containers' names differ."""
    host = re.sub(r"[^A-Za-z0-9._-]", "_", name) or "host"
    if len(host) <= _HOST_LIMIT:
        return host
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:_HASH_DIGITS]
    return f"{host[: _HOST_LIMIT - _HASH_DIGITS - 1]}-{digest}"


@dataclass(frozen=True)
class Owner:
    """One daemon process. `host` and `boot_id` are cut down to what fits in a file name. Of `boot_id` the first five
    digits are the boot's; the other three tell to which of its pid namespaces `pid` belongs."""

    host: str
    boot_id: str
    pid: int

    def __post_init__(self) -> None:
        host = host_called(self.host)
        boot_id = re.sub(r"[^0-9a-z]", "", self.boot_id.lower())[:8] or "0"
        object.__setattr__(self, "host", host)
        object.__setattr__(self, "boot_id", boot_id)

    @classmethod
    def current(cls) -> Owner:
        """This process on this boot of this host."""
        boot_id = _BOOT_ID.read_text("ascii").strip() if _BOOT_ID.exists() else ""
        return cls(socket.gethostname(), f"{boot_id:0<{_BOOT_DIGITS}}"[:_BOOT_DIGITS] + _pid_space(), os.getpid())

    @property
    def tag(self) -> str:
        return f"{self.host}-{self.boot_id}-{self.pid}"

    @classmethod
    def of(cls, tag: str) -> Owner:
        """Whose tag it is. Raises ValueError for what is none."""
        host, boot_id, pid = tag.rsplit("-", 2)
        return cls(host, boot_id, int(pid))

    def is_seen_from(self, here: Owner) -> bool:
        """Whether the process `here` can tell if this one exists: not if it is on another host, nor if it is in another
        pid namespace, as in a container that shares the host's name."""
        return self.host == here.host and (self.boot_id == here.boot_id or not self._is_of_boot(here))

    def may_live(self, here: Owner) -> bool:
        """Whether it may still be at work, as far as the process `here` can tell. If its pid is another process's by
        now, a repair only comes later."""
        return not self.is_seen_from(here) or (self._is_of_boot(here) and _is_there(self.pid))

    def _is_of_boot(self, here: Owner) -> bool:
        return self.boot_id[:_BOOT_DIGITS] == here.boot_id[:_BOOT_DIGITS]


def _pid_space() -> str:
    """This process's pid namespace. They are numbered one after the other, so two of a host that agree in the last
    three digits are far apart in time."""
    try:
        number = _PID_SPACE.stat().st_ino
    except OSError:  # no /proc
        return "0" * _SPACE_DIGITS
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    return "".join(digits[number // len(digits) ** place % len(digits)] for place in reversed(range(_SPACE_DIGITS)))


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@dataclass(frozen=True)
class WorkName:
    """A parsed entry of `work/`. `own_id` is True when the sender chose the job id, so the dropped name carried it."""

    dropped_name: str
    own_id: bool
    owner: Owner
    job_id: str

    @property
    def text(self) -> str:
        """The entry's name. A sender's job id stays in it (`NAME@jobid@owner-jobid`): a restart must still know."""
        suffix = f"@{self.owner.tag}-{self.job_id}"
        return names.fit(self.dropped_name, f"@{self.job_id}{suffix}" if self.own_id else suffix)

    @classmethod
    def parse(cls, entry_name: str) -> WorkName | None:
        """The parts of an entry's name, None when it is not one of ours."""
        match = _ENTRY.fullmatch(entry_name)
        if match is None:
            return None
        name, chosen = names.split_job_id(match["name"])
        own_id = chosen == match["job_id"]
        owner = Owner(match["host"], match["boot"], int(match["pid"]))
        return cls(name if own_id else match["name"], own_id, owner, match["job_id"])
