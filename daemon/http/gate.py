"""What a request passes before anything is done for it: who calls, how often, and how large a body.

Counts are kept in this process alone, and only touched from its event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import anyio
import anyio.to_thread
from fastapi import Request
from starlette.requests import ClientDisconnect

from daemon import log
from daemon.addresses import is_loopback
from daemon.config import Http
from daemon.errors import OperatorError
from daemon.http.door import turn_of
from daemon.http.methods import WHOLE_URL
from daemon.http.races import OverError, until
from daemon.http.refusals import Refusal, stopping
from daemon.http.tokens import LOCAL, Caller, Role, Tokens

T = TypeVar("T")

_CALLERS_KEPT = 10_000
_OF_PROXIES = "1.0"  # what nginx speaks to those behind it, unless told otherwise; it names itself nowhere
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


@dataclass
class _Bucket:
    """Requests a caller may make now; it fills up with time."""

    left: float
    at_s: float


@dataclass
class Rate:
    """A token bucket per caller: `per_s` requests a second on average, `burst` at once."""

    per_s: float
    burst: int
    _buckets: dict[str, _Bucket] = field(default_factory=dict)

    def wait_s(self, name: str, now_s: float) -> float:
        """0 when a request may pass; it is counted then. Else the seconds until the next one may."""
        if len(self._buckets) > _CALLERS_KEPT:
            self._buckets.clear()
        bucket = self._buckets.setdefault(name, _Bucket(self.burst, now_s))
        bucket.left = min(self.burst, bucket.left + (now_s - bucket.at_s) * self.per_s)
        bucket.at_s = now_s
        if bucket.left < 1:
            return (1 - bucket.left) / self.per_s
        bucket.left -= 1
        return 0.0


class Gate:
    """Lets requests in. `host` is the address this server listens on."""

    def __init__(self, http: Http, tokens: Tokens, host: str) -> None:
        self._http = http
        self._tokens = tokens
        self._open_to_local = is_loopback(host)
        self._rate = Rate(http.requests_per_s, http.burst)
        self._arriving_bytes = 0
        self._stopping = asyncio.Event()
        self._looking = anyio.CapacityLimiter(2)  # a busy server can still tell who calls

    async def admit(self, request: Request) -> Caller:
        """Who calls. Raises `Refusal` 401, 403 or 429."""
        caller = await self._caller(request)
        peer = request.client.host if request.client else ""
        wait_s = self._rate.wait_s(caller.name if caller is not LOCAL else f"local {peer}", time.monotonic())
        if wait_s > 0:
            raise Refusal(429, "too many requests", hint="send fewer, or wait", retry_after_s=wait_s)
        return caller

    async def _caller(self, request: Request) -> Caller:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self._open_to_local and not self._tokens.are_used:
            _refuse_browsers(request)
            return LOCAL
        if scheme.lower() != "bearer" or not token.strip():
            hint = "send the header  Authorization: Bearer TOKEN ; an admin makes one with: evald token NAME"
            raise Refusal(401, "a token is needed", hint=hint)
        caller = await self._looked_up(lambda: self._tokens.caller(token.strip()))
        if caller is None:
            raise Refusal(401, "nobody has this token", hint="it may have been revoked; ask for a new one")
        return caller

    async def require_known(self, caller: Caller) -> None:
        """Raise `Refusal` 401 when somebody who was let in waits, and the token has been revoked meanwhile."""
        if caller is not LOCAL and caller not in await self._looked_up(self._tokens.callers):
            raise Refusal(401, f"the token {caller.name} has been revoked", hint="ask for a new one")

    async def _looked_up(self, look: Callable[[], T]) -> T:
        """What `look` finds among the tokens. Raises `Refusal` 503 where they cannot be read."""
        try:
            return await anyio.to_thread.run_sync(look, limiter=self._looking)
        except OperatorError as error:
            log.story("cannot tell who calls", level=30, reason=error)
            raise Refusal(503, "the tokens cannot be read", hint="the log says more", retry_after_s=30) from error

    def stop(self) -> None:
        """Wait for no body any more; for the event loop's thread."""
        self._stopping.set()

    @asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The whole body, counted among those that are here until the block ends.

        Raises `Refusal` 400 when the client goes away, 408 when it is too slow, 413 when it is too large, 415 when it
        is compressed, 503 when all that are here together are too large, or when the server stops.
        """
        if (coding := request.headers.get("content-encoding", "identity").lower()) != "identity":
            raise Refusal(415, f"a body in the content encoding {coding[:50]!r}", hint="send it as it is")
        limit = self._http.body_bytes
        declared = request.headers.get("content-length", "")
        if declared.isascii() and declared.isdigit() and int(declared[:20]) > limit:
            raise _too_large(limit)
        count = Count(self)
        try:
            turn_of(request).leave()
            document = await self._arrived(request, count)
            await turn_of(request).enter()
            yield document
        finally:
            self._arriving_bytes -= count.bytes

    async def _arrived(self, request: Request, count: Count) -> bytes:
        try:
            return await until(self._read(request, count), self._stopping.wait(), self._http.body_s)
        except OverError:
            raise stopping() from None
        except TimeoutError:
            text = f"the body did not arrive within {self._http.body_s:g} s"
            raise Refusal(408, text, hint="send it again") from None

    async def _read(self, request: Request, count: Count) -> bytes:
        chunks = []
        total = 0
        try:
            async for chunk in request.stream():
                total += len(chunk)
                if total > self._http.body_bytes:
                    raise _too_large(self._http.body_bytes)
                count(len(chunk))
                chunks.append(chunk)
        except ClientDisconnect:
            raise Refusal(400, "the client went away in the middle of its body") from None
        return b"".join(chunks)

    def take(self, count: int) -> None:
        """Count bytes of a body that is arriving."""
        if self._arriving_bytes + count > self._http.bodies_bytes:
            raise Refusal(503, "too many large bodies are arriving", hint="send it again", retry_after_s=2)
        self._arriving_bytes += count


class Count:
    """The bytes of one arriving body."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.bytes = 0

    def __call__(self, count: int) -> None:
        self._gate.take(count)
        self.bytes += count


def require(caller: Caller, role: Role) -> None:
    """Raise `Refusal` 403 unless the caller has this role."""
    if role is Role.ADMIN and caller.role is not Role.ADMIN:
        raise Refusal(403, f"the token {caller.name} may not do this", hint="it takes one made with --admin")


def _refuse_browsers(request: Request) -> None:
    """Without tokens, a web page could reach us through its reader's browser: by a name of its own for us (DNS
    rebinding), or by a request that needs no permission. Both kinds of request say where they come from."""
    if not is_loopback(request.headers.get("host", "")):
        raise Refusal(403, "this address answers only to localhost", hint="make a token: evald token NAME --admin")
    if "origin" in request.headers:
        raise Refusal(403, "web pages need a token", hint="make a token: evald token NAME --admin")
    is_of_proxies = request.scope["http_version"] == _OF_PROXIES or WHOLE_URL in request.scope
    if is_of_proxies or any(name in request.headers for name in _FORWARDED):
        raise Refusal(403, "what a proxy passes on needs a token", hint="make a token: evald token NAME --admin")


def _too_large(limit_bytes: int) -> Refusal:
    return Refusal(
        413, f"the body is larger than {limit_bytes} bytes", hint="the setting http.body_bytes says how large"
    )
