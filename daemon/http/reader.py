"""Reads requests off a connection. Refuses those that take far longer to read than to send, and those that a proxy in
front may read in another way.

h11 takes some 20 us for a header and 50 us for a chunk of a body, whatever it holds, in the event loop that serves
everybody. A sender of one byte a chunk would keep it busy with 100 KB a second, before anybody asks who that is.
"""

from __future__ import annotations

import re

import h11

_HEAD_BYTES = 1 << 16
_HEADERS = 128
_CHUNKS, _CHUNK_BYTES = 500, 64  # of so many and more, how many bytes a chunk has to have on average
_LAST_CHUNK = re.compile(rb"(?:\r?\n)?0+[ \t]*(?:;[^\r\n]*)?\r?\n")
_BLANK = (b"", b"\r", b"\r\n", b"\n")  # as far as it has come


class RequestReader(h11.Connection):
    """The server's end. `refused`: why it has refused what came, in words."""

    def __init__(self) -> None:
        super().__init__(h11.SERVER, _HEAD_BYTES)
        self.refused: str | None = None
        self._begin()

    def _begin(self) -> None:
        self._chunks = self._body_bytes = 0
        self._is_between_chunks = self._is_at_its_end = False

    def next_event(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """As h11's. Raises `h11.RemoteProtocolError` for what is refused, too."""
        if self.their_state is h11.IDLE:
            self._require_few_headers(self.trailing_data[0])
        elif self.their_state is h11.SEND_BODY and self._is_between_chunks:
            self._require_no_trailer(self.trailing_data[0])
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._begin()
            names = {name for name, _ in event.headers}
            self._is_between_chunks = b"transfer-encoding" in names
            self._require_one_length(names, event.http_version)
        elif isinstance(event, h11.Data):
            self._is_between_chunks = event.chunk_end
            self._chunks += event.chunk_end
            self._body_bytes += len(event.data)
            if self._chunks > _CHUNKS and self._body_bytes < self._chunks * _CHUNK_BYTES:
                self._refuse("the body comes in chunks of a few bytes: send larger ones, or all of it as one")
        return event

    def _require_one_length(self, names: set[bytes], version: bytes) -> None:
        """Refuse a request that says in two ways where its body ends. h11 takes one of them, and a proxy in front of us
        may have taken the other: what is a body to one of them is a request to the other (RFC 9112, 6.1 and 11.2)."""
        if b"transfer-encoding" not in names:
            return
        if b"content-length" in names:
            self._refuse("both Content-Length and Transfer-Encoding: send one of them")
        if version < b"1.1":
            self._refuse("Transfer-Encoding in HTTP/1.0, which does not have it: send Content-Length")

    def _require_few_headers(self, received: bytes) -> None:
        head = received.partition(b"\n\r\n")[0].partition(b"\n\n")[0]
        if head.count(b"\n") > _HEADERS:
            self._refuse(f"more than {_HEADERS} headers")

    def _require_no_trailer(self, received: bytes) -> None:
        """Refuse headers behind a body: there might be as many as in front of it."""
        if not self._is_at_its_end and (last := _LAST_CHUNK.match(received)):
            self._is_at_its_end = True
            received = received[last.end() :]
        if self._is_at_its_end and received[:2] not in _BLANK and not received.startswith(b"\n"):
            self._refuse("headers behind the body")

    def _refuse(self, why: str) -> None:
        self.refused = why
        raise h11.RemoteProtocolError(why)
