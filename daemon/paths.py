"""Where things lie. One home folder by default; inbox, results and state can each be set on their own.

`work`, `archive`, `rejected` and `quarantine` are siblings of the inbox: bundles move between them by rename, so they
share its file system. `state` (database, caches, locks, private copies) belongs on a local disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.errors import OperatorError


def expanded(path: Path) -> Path:
    """`path` with the home folder in place of a `~`. Raises `OperatorError` where there is none."""
    try:
        return path.expanduser()
    except RuntimeError as error:  # no such user, or one without an entry and without HOME
        raise OperatorError(f"{path}: whose home folder that is cannot be told", hint="write the folder out") from error


def in_url(path: Path) -> str:
    """`path` as it stands in a URL, where a ? would end it, and a % with two hex digits would be another character."""
    return str(path).replace("%", "%25").replace("?", "%3F")


@dataclass(frozen=True)
class Paths:
    """The folders of one evald home, all absolute."""

    home: Path
    inbox: Path
    results: Path
    state: Path

    @property
    def work(self) -> Path:
        """Claimed bundles, `NAME@host-boot-pid-jobid`."""
        return self.inbox.parent / "work"

    @property
    def archive(self) -> Path:
        """Bundles whose job is finished."""
        return self.inbox.parent / "archive"

    @property
    def rejected(self) -> Path:
        """Bundles that were malformed, unsafe or too large, each with a `reason.txt`."""
        return self.inbox.parent / "rejected"

    @property
    def quarantine(self) -> Path:
        """Bundles evald could not finish judging (torn, or broken after every attempt), each with a `reason.txt`."""
        return self.inbox.parent / "quarantine"

    @property
    def pause(self) -> Path:
        """While this file is there nothing is claimed or begun by any daemon of this inbox. Its text is the reason."""
        return self.inbox.parent / "pause"

    @property
    def database_id(self) -> Path:
        """Names the database whose daemons may judge what lies in this inbox; `daemon.belonging`."""
        return self.inbox.parent / "database-id"

    @property
    def seen_inbox(self) -> Path:
        """Names the inbox that daemons of this state have found mounted; `daemon.belonging`."""
        return self.state / "seen-inbox"

    @property
    def outbox(self) -> Path:
        """Complete results that the database has not acknowledged yet."""
        return self.results / ".outbox"

    @property
    def jobs(self) -> Path:
        """Private, verified copies of the bundles being judged, one folder per job id."""
        return self.state / "jobs"

    @property
    def cache(self) -> Path:
        """Build artifacts by content hash."""
        return self.state / "cache"

    @property
    def controls(self) -> Path:
        """What the control kernel took on each device."""
        return self.state / "controls"

    @property
    def default_database_url(self) -> str:
        return f"sqlite:///{in_url(self.state / 'evald.sqlite3')}"

    @property
    def spool(self) -> tuple[Path, ...]:
        """The folders that bundles are renamed between."""
        return (self.inbox, self.work, self.archive, self.rejected, self.quarantine)

    def create(self) -> None:
        """Make every folder that is missing."""
        for folder in (*self.spool, self.results, self.outbox, self.state, self.jobs, self.cache):
            folder.mkdir(parents=True, exist_ok=True)
        self.state.chmod(0o700)
