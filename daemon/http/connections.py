"""One connection of a client: how long it may take, and what is answered to what is no HTTP.

uvicorn has a limit for idle connections alone, and the first byte of a next request ends that one.
"""

from __future__ import annotations

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon.http.refusals import ErrorAnswer

_HEAD_S = 10.0  # from its first byte, or that of the connection, to the end of a request's head
_KEPT_FREE = 256  # descriptors that clients leave to the rest of the process, which may judge as well


class Connection(H11Protocol):
    """Ends a connection that begins a request and does not go on, or still sends when it has been answered; refuses
    those beyond what the process has descriptors for."""

    _head: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_at_once():
            transport.abort()
            return
        self._head = self.loop.call_later(_HEAD_S, self._no_head)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._is_between_requests:
            self._forget_head()
        elif self._head is None:
            self._head = self.loop.call_later(_HEAD_S, self._no_head)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        super().connection_lost(exc)

    @property
    def _is_between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _no_head(self) -> None:
        self._head = None
        if self._is_between_requests:
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # in the middle of an answer: there is no other
            self.transport.close()
            return
        body = ErrorAnswer(error=msg.rstrip(".").lower(), hint="is this HTTP/1.1?").model_dump_json().encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()


def most_at_once() -> int:
    """How many connections there may be."""
    return max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _KEPT_FREE, 1)
