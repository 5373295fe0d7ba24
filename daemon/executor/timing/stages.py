"""Where the time of an evaluation goes: one figure per stage, for whoever waits for verdicts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stages:
    """Wall milliseconds by stage, in the order in which the stages began. One that comes again is added up."""

    def __init__(self) -> None:
        self.took_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block, however it ends, as part of stage `name`."""
        self.took_ms.setdefault(name, 0.0)
        start = time.perf_counter()
        try:
            yield
        finally:
            self.took_ms[name] += (time.perf_counter() - start) * 1e3
