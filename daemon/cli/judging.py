"""What `run`, `sweep` and `eval` have in common: stopping at any moment, and the warning about a missing sandbox."""

from __future__ import annotations

from collections.abc import Callable

from daemon.cli import screen
from daemon.config import Settings


class Stopper:
    """Passes a stop on to the service, also one that comes while the service is still starting."""

    def __init__(self) -> None:
        self.asked = False
        self._stop: Callable[[], None] | None = None

    def __call__(self) -> None:
        """May run inside a signal handler."""
        self.asked = True
        if self._stop is not None:
            self._stop()

    def attach(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        if self.asked:
            stop()


def warn_without_sandbox(settings: Settings) -> None:
    """Say on every start that nothing holds the bundles."""
    if settings.isolation == "none":
        screen.warn("isolation is none: bundles run as you, with everything you may do; every result says so")
