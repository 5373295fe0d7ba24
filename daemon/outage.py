"""Storage that does not answer, or fails: when it is tried again, and when somebody is told."""

from __future__ import annotations

import errno
import logging
import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from daemon import log
from daemon.errors import HarnessError, LostClaim, NotBegun, NotKept

_BACK_OFF_S = 2.0
_PAUSES_S = (0.1, 0.4, 1.5, 5.0, 10.0)
_MAY_PASS = frozenset(
    {
        *(errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN, errno.EINTR, errno.EBUSY, errno.EREMOTEIO),
        *(errno.ENOENT, errno.ENODEV, errno.ENXIO, errno.ENOTCONN, errno.ENOLINK, errno.ECOMM),  # a mount being mended
        *(errno.ECONNRESET, errno.ECONNABORTED, errno.ECONNREFUSED, errno.EPIPE, errno.ESHUTDOWN),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET),
    }
)
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_Answer = TypeVar("_Answer")


class Outage:
    """Of a daemon's database or disk, from the first failure until `over`. For one thread."""

    def __init__(self) -> None:
        self.reason: str | None = None  # None: there is none
        self._retry_at_s = 0.0
        self._next_complaint_s = 0.0

    def is_too_early(self, now_s: float) -> bool:
        """Whether the pause after the last failure goes on (`now_s` monotonic)."""
        return now_s < self._retry_at_s

    def begin(self, error: Exception) -> None:
        """It failed at the start, and is tried again at once."""
        self.reason = str(error)
        log.story("waiting for storage", level=logging.WARNING, reason=error)

    def failed(self, error: Exception) -> None:
        """It failed: pause a while, and tell why, once a minute at most."""
        failed_s = time.monotonic()  # which may have taken longer than the pause that follows
        self._retry_at_s = failed_s + back_off_s()
        if self.reason is None or failed_s >= self._next_complaint_s:
            self._next_complaint_s = failed_s + log.COMPLAIN_EVERY_S
            log.story("waiting for storage", level=logging.WARNING, reason=error)
        self.reason = str(error)

    def over(self) -> None:
        """It answered."""
        if self.reason is not None:
            self.reason = None
            log.story("storage is back")


class Patience:
    """With a disk or a file server that fails while a job is done, mostly for a moment. The same call is made again for
    some seconds, because an attempt costs a job more than that. Safe to use from several threads."""

    def __init__(self) -> None:
        self._is_over = threading.Event()

    def end(self) -> None:
        """Whoever waits now, or would, waits no longer."""
        self._is_over.set()

    def with_job(
        self,
        job_id: str,
        do: Callable[[], _Answer],
        after: tuple[type[Exception], ...] = (HarnessError, OSError),
    ) -> _Answer:
        """What `do` answers; it is called again `after` an error that may pass. Raises as `do` does, and `LostClaim`
        when told to `end` meanwhile."""
        for pause_s in _PAUSES_S:
            try:
                return do()
            except after as error:
                if not may_pass(error):
                    raise
                log.story("storage fails, and is asked again", level=logging.WARNING, job=job_id, reason=error)
                if self._is_over.wait(pause_s):
                    raise LostClaim(f"job {job_id} waits for storage while evald is stopped") from error
        return do()


def may_pass(error: BaseException | None) -> bool:
    """Whether the system's error may be gone in a moment. Of the disk for copies also that it lacks room. Always where
    a result cannot be kept, because what was found out would be lost with it, and have to be found out again."""
    would_be_lost, was_not_begun = isinstance(error, NotKept), isinstance(error, NotBegun)
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    passing = _MAY_PASS | _NO_ROOM if was_not_begun else _MAY_PASS
    return error is not None and (would_be_lost or error.errno in passing)


def back_off_s() -> float:
    """Not all daemons at the same moment."""
    return _BACK_OFF_S * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
