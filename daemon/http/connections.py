"""One connection of a client: how long it may take, and what is answered to what is not HTTP.

uvicorn limits idle connections only, and its limit ends with the first byte of the next request.
"""

from __future__ import annotations

import asyncio
import math
import resource
import time
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from daemon import log
from daemon.http.reader import RequestReader
from daemon.http.refusals import ErrorAnswer

_HEAD_S = 10.0  # from its first byte, or that of the connection, to the end of a request's head
_TLS_HANDSHAKE = b"\x16\x03"
_BETWEEN_WORDS_S = 60.0
_HALF_CLOSED_S = 5.0
_KEPT_FREE = 256  # descriptors that clients leave to the rest of the process, which may judge as well


class Connection(H11Protocol):
    """Ends a connection that begins a request and does not go on, or that still sends after the answer. Refuses
    connections for which the process has no descriptors left."""

    _head: asyncio.TimerHandle | None = None
    _gone: asyncio.TimerHandle | None = None
    _is_first = True
    _is_half_closed = False
    _next_word_s = -math.inf  # of all connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn: RequestReader = RequestReader()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > most_at_once():
            transport.abort()
            return
        self._head = self.loop.call_later(_HEAD_S, self._no_head)

    def data_received(self, data: bytes) -> None:
        if self._is_first and data.startswith(_TLS_HANDSHAKE):
            self._told_tls()
        self._is_first = False
        super().data_received(data)
        if not self._is_between_requests:
            self._forget_head()
        elif self._head is None:
            self._head = self.loop.call_later(_HEAD_S, self._no_head)

    def _told_tls(self) -> None:
        """Log now and then that a client speaks TLS. The client cannot read an answer without TLS, and shows its user
        some message about a wrong version."""
        if time.monotonic() >= Connection._next_word_s:
            Connection._next_word_s = time.monotonic() + _BETWEEN_WORDS_S
            peer = self.client[0] if self.client else None
            log.story("a client speaks TLS to a port of plain HTTP", level=30, client=peer, instead="http://")

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has sent a whole request and closes its side (`nc -N`) may still read. It cannot be told from a
        client that is gone. So it is answered for a while only, because otherwise it would keep its place while it
        waits for a job. Of several requests in a row, each has its answer, and its while."""
        if self._is_half_closed:  # it is read again whenever uvicorn reads on
            return True
        if self._is_between_requests or self.cycle.more_body or (self.cycle.response_started and not self._has_more):
            return False
        self._is_half_closed = True
        self._answer_for_a_while()
        return True

    def on_response_complete(self) -> None:
        super().on_response_complete()  # which begins the next request, where one has come
        if not self._is_half_closed:
            return
        if self._is_between_requests or self.cycle.more_body:
            self.transport.close()
        else:
            self._answer_for_a_while()

    def _answer_for_a_while(self) -> None:
        """Answer the running request of a sender who has closed its side."""
        if not self._has_more:
            self.cycle.keep_alive = False
        self._forget_gone()
        self._gone = self.loop.call_later(_HALF_CLOSED_S, self.transport.close)

    @property
    def _has_more(self) -> bool:
        """Whether something has come behind the request that runs."""
        return bool(self.conn.trailing_data[0])

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_head()
        self._forget_gone()
        super().connection_lost(exc)

    def _forget_gone(self) -> None:
        if self._gone is not None:
            self._gone.cancel()
            self._gone = None

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
        answer = ErrorAnswer(error=msg.rstrip(".").lower(), hint="is this HTTP/1.1, without TLS?")
        if self.conn.refused is not None:
            answer = ErrorAnswer(error=self.conn.refused)
        body = answer.model_dump_json().encode()
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), ("connection", "close")]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.transport.close()


def most_at_once() -> int:
    """How many connections there may be."""
    return max(resource.getrlimit(resource.RLIMIT_NOFILE)[0] - _KEPT_FREE, 1)
