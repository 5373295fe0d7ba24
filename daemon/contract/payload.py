"""Embedded tensor bytes: base64, perhaps zlib, never expanded beyond what the shape allows.

Everything works on chunks of at most `_CHUNK` bytes, so checking a bomb costs no memory. Expansion stops at the first
byte that is too many.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterator

from daemon.contract.document import CONTRACT_FILE
from daemon.contract.tensors import Compression, TensorData, tensor_bytes
from daemon.errors import BundleError, Problem

_CHUNK = 1 << 18
_WHITESPACE = b" \t\r\n"
_BASE64 = re.compile(rb"[A-Za-z0-9+/]*={0,2}")


class PayloadError(ValueError):
    """The bytes in a `data_b64` are not what shape and dtype say."""


def decode_tensor(data: TensorData, limit_bytes: int) -> bytes:
    """The C-order little-endian bytes of `data`, exactly as many as its shape and dtype say.

    Raises `BundleError` when they are more than `limit_bytes` or `data_b64` holds something else, and ValueError for a
    `data` without shape or dtype (one that no case was bound to).
    """
    if data.shape is None or data.dtype is None:
        raise ValueError("bind a case first: this payload takes its shape and dtype from its tensor_spec")
    expected_bytes = tensor_bytes(data.shape, data.dtype)
    try:
        if expected_bytes > limit_bytes:
            raise PayloadError(f"shape {list(data.shape)} needs {expected_bytes} bytes, the limit is {limit_bytes}")
        return b"".join(_chunks(data, expected_bytes))
    except PayloadError as error:
        raise BundleError([Problem(CONTRACT_FILE, "data_b64", str(error))]) from error


def check_payload(data: TensorData, expected_bytes: int) -> None:
    """Decode without keeping anything. Raises `PayloadError` unless exactly `expected_bytes` come out."""
    for _ in _chunks(data, expected_bytes):
        pass


def _chunks(data: TensorData, expected_bytes: int) -> Iterator[bytes]:
    encoded = _alphabet_checked(data.data_b64)
    if data.compress is Compression.ZLIB:
        yield from _inflated(_decoded(encoded), expected_bytes)
        return
    size = len(encoded) // 4 * 3 - encoded[-2:].count(b"=")
    if size != expected_bytes:
        raise PayloadError(f"holds {size} bytes, shape and dtype need {expected_bytes}")
    yield from _decoded(encoded)


def _alphabet_checked(text: str) -> bytes:
    try:
        encoded = text.encode("ascii").translate(None, _WHITESPACE)
    except UnicodeEncodeError as error:
        raise PayloadError("is not base64: it has characters beyond ASCII") from error
    if not _BASE64.fullmatch(encoded):
        url_safe = b"-" in encoded or b"_" in encoded
        raise PayloadError(f"is not base64{' of the standard alphabet (+ and /, not - and _)' if url_safe else ''}")
    if len(encoded) % 4:
        raise PayloadError("is not base64: it is cut off (the length is no multiple of 4)")
    return encoded


def _decoded(encoded: bytes) -> Iterator[bytes]:
    step = _CHUNK // 3 * 4
    view = memoryview(encoded)
    for start in range(0, len(encoded), step):
        try:
            yield binascii.a2b_base64(view[start : start + step])
        except binascii.Error as error:
            raise PayloadError(f"is not base64: {error}") from error


def _inflated(compressed: Iterator[bytes], expected_bytes: int) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    left = expected_bytes
    for piece in compressed:
        pending = piece
        while pending:
            out = _inflate_some(inflater, pending, min(_CHUNK, left + 1))
            left -= len(out)
            if left < 0:
                raise PayloadError(f"expands to more than the {expected_bytes} bytes that shape and dtype need")
            if out:
                yield out
            pending = inflater.unconsumed_tail
            if inflater.unused_data:
                raise PayloadError("has bytes after the end of the zlib stream")
    yield from _drained(inflater, left, expected_bytes)


def _drained(inflater: zlib._Decompress, left: int, expected_bytes: int) -> Iterator[bytes]:
    """What the inflater still holds once all input is consumed, then the final accounts."""
    while not inflater.eof:
        out = _inflate_some(inflater, b"", min(_CHUNK, left + 1))
        if not out:
            raise PayloadError("is a zlib stream that is cut off")
        left -= len(out)
        if left < 0:
            raise PayloadError(f"expands to more than the {expected_bytes} bytes that shape and dtype need")
        yield out
    if left:
        raise PayloadError(f"expands to {expected_bytes - left} bytes, shape and dtype need {expected_bytes}")


def _inflate_some(inflater: zlib._Decompress, piece: bytes, limit_bytes: int) -> bytes:
    try:
        return inflater.decompress(piece, limit_bytes)
    except zlib.error as error:
        raise PayloadError(f"is not a zlib stream: {error}") from error
