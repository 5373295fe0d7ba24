"""Who wants to see what happens to jobs: the command line's progress, the server over HTTP."""

from __future__ import annotations

from typing import Protocol

from daemon.engine import Progress
from daemon.judging import Deferred
from daemon.publishing import Finished


class Listener(Protocol):
    """Called from several threads."""

    def claimed(self, job_id: str, name: str) -> None: ...
    def started(self, job_id: str, name: str) -> None: ...
    def progress(self, progress: Progress) -> None: ...
    def finished(self, finished: Finished) -> None: ...
    def deferred(self, deferred: Deferred) -> None: ...


class Silence:
    """A listener that does not listen."""

    def claimed(self, job_id: str, name: str) -> None:
        """A bundle was claimed from the inbox."""

    def started(self, job_id: str, name: str) -> None:
        """A job was leased and is being judged."""

    def progress(self, progress: Progress) -> None:
        """A job came further."""

    def finished(self, finished: Finished) -> None:
        """A job ended with a result."""

    def deferred(self, deferred: Deferred) -> None:
        """A job waits for another host, that has a device for it."""
