"""Who of the daemons is at work, looked at once in a while, so that asking costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace

import anyio
import anyio.to_thread

from daemon import obstacles
from daemon.config import Settings
from daemon.db.history import History
from daemon.intake.pause import pause_reason

_EVERY_S = 1.0
_NOBODY = "no daemon is at work; type: evald run"


@dataclass(frozen=True)
class Roll:
    """One look. `daemons`: how many are at work. `draining`: there are some, and none of them takes anything new."""

    daemons: int = 0
    draining: bool = False
    reason: str | None = "still looking"

    @property
    def is_healthy(self) -> bool:
        return self.reason is None


class Attendance:
    """Belongs to one event loop. Run it with `running`."""

    def __init__(self, settings: Settings, history: History) -> None:
        self._settings = settings
        self._history = history
        self.seen = Roll()
        self._looking = anyio.CapacityLimiter(1)  # a busy server still looks

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        await self._look()
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_EVERY_S)
            await self._look()

    async def _look(self) -> None:
        try:
            self.seen = await anyio.to_thread.run_sync(self._seen, limiter=self._looking)
        except Exception as error:  # noqa: BLE001 - whatever it is, /health must not go on saying what was
            self.seen = replace(self.seen, reason=f"storage does not answer: {type(error).__name__}")

    def _seen(self) -> Roll:
        there = [daemon for daemon in self._history.daemons() if daemon.is_there]
        draining = bool(there) and all(daemon.is_drained for daemon in there)
        if not there:
            return Roll(0, False, _NOBODY)
        if draining:
            return Roll(len(there), True, "every daemon is draining")
        if pause_reason(self._settings.paths) is not None:
            return Roll(len(there), False, "an operator has paused it")
        if obstacles.hindrance(self._settings, there) is not None:
            return Roll(len(there), False, "a folder or the room on a disk is missing; type: evald health")
        return Roll(len(there), False, None)
