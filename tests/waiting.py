"""How tests wait for what others do: with a limit, and a reason at the end of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import evald_processes

Answer = TypeVar("Answer")


def wait_for(condition: Callable[[], Answer], what: str, limit_s: float = 300.0) -> Answer:
    """Poll until `condition` holds; its answer. Fails naming `what`, and what daemons say; at once when
    one has failed meanwhile."""
    deadline_s = time.monotonic() + limit_s
    while not (answer := condition()):
        failed = evald_processes.newly_failed()
        assert failed is None or condition(), f"waited for: {what}, but {failed}"
        if time.monotonic() >= deadline_s:
            raise AssertionError(f"waited {limit_s:g} s in vain for: {what}{evald_processes.told_by_the_living()}")
        time.sleep(0.02)
    return answer
