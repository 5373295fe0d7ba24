"""Reading gzip (RFC 1952) at a cost that is bounded by its length, whoever made it.

`gzip.GzipFile` looks at zeros behind a member one at a time, and a sparse file of four kilobytes can have a million
million of them.
"""

from __future__ import annotations

import zlib
from typing import IO, Any

MAGIC = b"\x1f\x8b"

_CHUNK_BYTES = 256 * 1024
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS
_MOST_MEMBERS = 20_000  # parallel packers make one for every few dozen kilobytes


class Gunzip:
    """What is packed in `raw`, member after member, read forward."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw = raw
        self._member: Any = None  # zlib's object for the one that is being read
        self._members = 0
        self._pending = b""

    def read(self, size: int) -> bytes:
        """The next `size` bytes; fewer at the end. Raises `EOFError` where a member is cut short, and `zlib.error` or
        `ValueError` for what is not gzip."""
        pieces, left = [], size
        while left and (piece := self._piece(left)):
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)

    def _piece(self, most: int) -> bytes:
        """Some bytes, at most so many; none at the end."""
        while self._member is not None or self._begin():
            packed = self._pending or self._raw.read(_CHUNK_BYTES)
            piece: bytes = self._member.decompress(packed, most)
            if self._member.eof:
                self._pending, self._member = self._member.unused_data, None
            elif packed or piece:
                self._pending = self._member.unconsumed_tail
            else:
                raise EOFError
            if piece:
                return piece
        return b""

    def _begin(self) -> bool:
        """The next member, behind zeros that pad the one before; False when there is none."""
        while True:
            if self._members:
                self._pending = self._pending.lstrip(b"\0")
            if self._pending:
                break
            self._pending = self._raw.read(_CHUNK_BYTES)
            if not self._pending:
                return False
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise ValueError(f"it has more than {_MOST_MEMBERS} members")
        self._member = zlib.decompressobj(_WITH_GZIP_HEADER)
        return True
