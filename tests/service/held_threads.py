"""Holds one thread of a daemon at a place of its way while all others go on: orders that tests meet by luck only.

A place is the n-th call of one of the functions that touch what threads and daemons share, by the main thread or by a
slot. Which places there are is learned from a run in which nobody is held.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import daemon

_TOP = Path(str(daemon.__file__)).parent
_SHARED = (
    *("runner", "judging", "publishing", "claims", "reconcile", "reception", "returns", "presence", "results"),
    *("fsio", "scheduler/workers", "scheduler/heartbeats", "scheduler/turns", "intake/spool", "db/repository"),
)
_FILES = {str(_TOP / f"{module}.py") for module in _SHARED}
_TIMES = 2
LIMIT_S = 300.0


class Place(NamedTuple):
    """The `nth` call of `function` by a thread of that `kind`: `main`, or `slot`."""

    kind: str
    function: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.kind}:{self.function}:{self.nth}"


@dataclass(frozen=True)
class _Held:
    is_there: threading.Event
    may_go_on: threading.Event


class Threads:
    """Those of one daemon, from its start on. `held_at`: where the first that comes there is held."""

    def __init__(self, held_at: Place | None = None) -> None:
        self.places: dict[Place, None] = {}
        self._held_at = held_at
        self._held = _Held(threading.Event(), threading.Event())
        self._calls: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Threads that start meanwhile are."""
        before = threading.gettrace()
        threading.settrace(self._at_call)
        try:
            yield
        finally:
            threading.settrace(before)  # type: ignore[arg-type]
            self.let_go()

    def has_come(self, limit_s: float) -> bool:
        """Whether one is held, within `limit_s`."""
        return self._held.is_there.wait(limit_s)

    def let_go(self) -> None:
        self._held.may_go_on.set()

    def _at_call(self, frame: FrameType, _event: str, _argument: Any) -> None:
        code = frame.f_code
        name = threading.current_thread().name
        kind = "slot" if name.startswith("slot-") else name
        if code.co_filename not in _FILES or kind not in ("main", "slot") or code.co_name.startswith("<"):
            return
        with self._lock:
            self._calls[kind, code.co_qualname] += 1
            place = Place(kind, code.co_qualname, self._calls[kind, code.co_qualname])
            if place.nth <= _TIMES:
                self.places[place] = None
        if place == self._held_at:
            sys.settrace(None)
            self._held.is_there.set()
            assert self._held.may_go_on.wait(LIMIT_S)
