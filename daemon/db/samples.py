"""Raw samples in few bytes: little-endian float64 for milliseconds, little-endian int64 for calls per round."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_NUMBER_BYTES = 8


def pack_ms(samples_ms: Sequence[float]) -> bytes:
    """Milliseconds as 8 bytes each, exact."""
    return struct.pack(f"<{len(samples_ms)}d", *samples_ms)


def unpack_ms(blob: bytes) -> tuple[float, ...]:
    """The inverse of `pack_ms`. Raises `ValueError` on a torn blob."""
    return struct.unpack(f"<{_count(blob)}d", blob)


def pack_calls(calls: Sequence[int]) -> bytes:
    """Calls per round as 8 bytes each."""
    return struct.pack(f"<{len(calls)}q", *calls)


def unpack_calls(blob: bytes) -> tuple[int, ...]:
    """The inverse of `pack_calls`. Raises `ValueError` on a torn blob."""
    return struct.unpack(f"<{_count(blob)}q", blob)


def _count(blob: bytes) -> int:
    count, rest = divmod(len(blob), _NUMBER_BYTES)
    if rest:
        raise ValueError(f"{len(blob)} bytes is not a whole number of {_NUMBER_BYTES}-byte samples")
    return count
