"""Requests for which no route is written: HEAD wherever there is GET, a slash at the end, a whole URL in place of a
path, and a method that the path does not have."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable

from starlette.routing import compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

WHOLE_URL = "evald.whole_url"
_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)


class Methods:
    """The methods of every path, from pairs of method and path template (`/jobs/{job_id}`)."""

    def __init__(self, routes: Iterable[tuple[str, str]]) -> None:
        found: dict[str, set[str]] = {}
        for method, template in routes:
            found.setdefault(template, set()).update((method, "HEAD") if method == "GET" else (method,))
        self._paths = [(compile_path(template)[0], methods) for template, methods in found.items()]

    def of(self, path: str) -> list[str]:
        """Those of the routes at `path`, sorted."""
        return sorted({method for pattern, methods in self._paths if pattern.match(path) for method in methods})


class SlashAtTheEnd:
    """Serves `/jobs/` as `/jobs`. A redirection would lose the body where the client does not follow it, and the scheme
    behind a proxy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            scope["path"] = scope["path"].rstrip("/") or "/"
        await self._app(scope, receive, send)


class WholeUrl:
    """Serves `http://HOST/jobs` as `/jobs`, as RFC 9112 (3.2.2) wants it. Only clients that speak to a proxy ask so:
    `WHOLE_URL` in the scope says that this one did."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (found := _ORIGIN.match(scope["path"])):
            scope[WHOLE_URL] = True
            scope["path"] = scope["path"][found.end() :] or "/"
            scope["raw_path"] = scope["raw_path"][found.end() :] or b"/"
        await self._app(scope, receive, send)


class HeadAsGet:
    """Answers HEAD with what GET would begin with. Plain ASGI, around the whole application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        answered = asyncio.Event()

        async def beginning(message: Message) -> None:
            if message["type"] == "http.response.start":  # a stream may be long without a first word
                await send(message)
                await send({"type": "http.response.body"})
                answered.set()

        async def until_answered() -> Message:
            """What the client sends. After the answer, a message that the client is gone: a stream ends by that."""
            message, waiting = asyncio.ensure_future(receive()), asyncio.ensure_future(answered.wait())
            try:
                await asyncio.wait((message, waiting), return_when=asyncio.FIRST_COMPLETED)
                return {"type": "http.disconnect"} if answered.is_set() else await message
            finally:
                message.cancel()
                waiting.cancel()

        scope["method"] = "GET"
        try:
            await self._app(scope, until_answered, beginning)
        finally:
            scope["method"] = "HEAD"
