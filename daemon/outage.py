"""Storage that does not answer: when it is tried again, and when somebody is told."""

from __future__ import annotations

import logging
import random
import time

from daemon import log

_BACK_OFF_S = 2.0


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


def back_off_s() -> float:
    """Not all daemons at the same moment."""
    return _BACK_OFF_S * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
