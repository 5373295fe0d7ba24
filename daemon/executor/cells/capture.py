"""Keeps the first and last bytes of an endless stream and counts the rest: 10 GB of output cost 128 KiB here."""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_TWO_DIGITS = 256


class Capture:
    """Head and tail of one output stream, `keep_bytes` each."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._head = bytearray()
        self._tail = bytearray()
        self.total_bytes = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.total_bytes += len(data)
        room = self._keep_bytes - len(self._head)
        self._head += data[:room]
        self._tail += data[max(room, 0) :]
        if len(self._tail) > 2 * self._keep_bytes:
            del self._tail[: -self._keep_bytes]

    def text(self) -> str:
        """What was kept, printable: control characters and invalid UTF-8 are escaped, the gap is named."""
        tail = self._tail[-self._keep_bytes :]
        dropped = self.total_bytes - len(self._head) - len(tail)
        parts = [_decoded(bytes(self._head))]
        if dropped > 0:
            parts.append(f"\n[… {dropped} bytes dropped …]\n")
        parts.append(_decoded(bytes(tail)))
        return "".join(parts)


def _decoded(data: bytes) -> str:
    return printable(data.decode("utf-8", errors="backslashreplace"))


def printable(text: str) -> str:
    """`text` with control characters, direction marks and lone surrogates escaped: fit for a terminal, JSON and a
    database."""
    return _CONTROL.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < _TWO_DIGITS else f"\\u{code:04x}"
