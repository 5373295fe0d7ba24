"""Requests take turns at the event loop, so that a crowd that comes at once does not keep /health waiting.

Theory of operation: what a request computes runs in the event loop, a fraction of a millisecond each; two hundred at
once are a tenth of a second in which nothing else is answered. So only a few are let past this door at a time. A turn
is for computing alone: it is given back while a body arrives, while a job is waited for, and once the answer begins,
so nobody holds one by being slow.
"""

from __future__ import annotations

import asyncio

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_AT_ONCE = 8
_KEY = "evald.turn"


class Turn:
    """One request's turn."""

    def __init__(self, door: asyncio.Semaphore) -> None:
        self._door = door
        self._held = False

    async def enter(self) -> None:
        """Wait for a turn, unless this request has one."""
        if not self._held:
            await self._door.acquire()
            self._held = True

    def leave(self) -> None:
        """Give the turn back, if there is one."""
        if self._held:
            self._held = False
            self._door.release()


class Door:
    """The door, in front of the whole application; `free` paths need no turn."""

    def __init__(self, app: ASGIApp, free: frozenset[str]) -> None:
        self._app = app
        self._free = free
        self._door = asyncio.Semaphore(_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in self._free:
            await self._app(scope, receive, send)
            return
        turn = scope[_KEY] = Turn(self._door)

        async def leaving(message: Message) -> None:
            turn.leave()
            await send(message)

        try:
            await turn.enter()
            await self._app(scope, receive, leaving)
        finally:
            turn.leave()


def turn_of(request: Request) -> Turn:
    """The turn of a request that came through the door."""
    turn: Turn = request.scope[_KEY]
    return turn
