"""Framed messages between processes that do not trust each other.

A frame is 4 bytes of length (big-endian) and that many bytes of UTF-8 JSON: one object with a string `type`. Sizes
are capped before anything is parsed, depth before anything is used; nothing is unpickled. File descriptors travel only
towards a cell, never from one: `receive` uses plain recv, and the kernel closes what a cell tries to send along.
"""

from __future__ import annotations

import array
import base64
import json
import math
import socket
import struct
from collections.abc import Sequence
from typing import Any

VERSION = 1
MAX_FROM_CELL = 4 * 1024 * 1024
MAX_TO_CELL = 256 * 1024 * 1024
# Bytes received at a time. For more than 128 KiB Python asks the kernel for memory and gives it back, each time: that
# made every round trip 70 us longer, of 170.
AT_ONCE = 64 * 1024
_MAX_DEPTH = 60
_MAX_FDS = 8
CHANNEL = "@channel"  # in a command line: the number the channel's descriptor has where the command runs
_HEADER = struct.Struct(">I")

Message = dict[str, Any]


class ProtocolError(Exception):
    """The other side broke the protocol: too large, too deep, not JSON, or no `type`."""


class ClosedError(Exception):
    """The other side closed its end."""


def send(channel: socket.socket, message: Message, fds: tuple[int, ...] = ()) -> None:
    """Send one message, with descriptors when given. Blocks until the other side took it."""
    body = _ENCODER.encode(message).encode("utf-8")
    frame = _HEADER.pack(len(body)) + body
    try:
        sent = socket.send_fds(channel, [frame], list(fds)) if fds else channel.send(frame)
        if sent < len(frame):
            channel.sendall(memoryview(frame)[sent:])
    except (BrokenPipeError, ConnectionResetError) as error:
        raise ClosedError("the other side is gone") from error


class Reader:
    """Collects bytes of one peer and cuts them into messages. `limit_bytes` caps a message."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add what recv returned."""
        self._buffer += data

    @property
    def pending(self) -> int:
        """Bytes that came and were not taken yet."""
        return len(self._buffer)

    def next(self) -> Message | None:
        """The next whole message, or None. Raises `ProtocolError`."""
        if len(self._buffer) < _HEADER.size:
            return None
        (length,) = _HEADER.unpack_from(self._buffer)
        if length > self._limit_bytes:
            raise ProtocolError(f"a message of {length} bytes; {self._limit_bytes} are allowed")
        if len(self._buffer) < _HEADER.size + length:
            return None
        body = bytes(self._buffer[_HEADER.size : _HEADER.size + length])
        del self._buffer[: _HEADER.size + length]
        return parse(body)


def packed(numbers: Sequence[int]) -> str:
    """Many small numbers as text, for a message that has to be read quickly on the same machine."""
    return base64.b64encode(array.array("i", numbers).tobytes()).decode("ascii")


def unpacked(text: str) -> list[int]:
    """What was `packed`."""
    return array.array("i", base64.b64decode(text)).tolist()


def parse(body: bytes) -> Message:
    """Decode one message body. Raises `ProtocolError` for anything but a shallow object with a `type`."""
    try:
        message = _DECODER.decode(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"not JSON: {type(error).__name__}") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError("not an object with a type")
    if _deeper_than(message, _MAX_DEPTH):
        raise ProtocolError(f"nested deeper than {_MAX_DEPTH}")
    return message


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    """1e999 is JSON, and infinity for whoever reads it."""
    if math.isinf(number := float(text)):
        raise ValueError(f"{text[:20]} fits no float")
    return number


# Made once: what is made anew for every message costs several times what it is made for, in the middle of rounds too.
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite)


def _deeper_than(value: Any, depth: int) -> bool:
    if depth < 0:
        return True
    if isinstance(value, dict):
        return any(_deeper_than(item, depth - 1) for item in value.values())
    if isinstance(value, list):
        return any(_deeper_than(item, depth - 1) for item in value)
    return False


def receive(channel: socket.socket, reader: Reader) -> Message:
    """Block for the next message, accepting no descriptors. Raises `ClosedError` at the end of the stream."""
    while (message := reader.next()) is None:
        try:
            data = channel.recv(AT_ONCE)
        except ConnectionResetError as error:
            raise ClosedError("the other side is gone") from error
        if not data:
            raise ClosedError("the other side closed its end")
        reader.feed(data)
    return message


def receive_with_fds(channel: socket.socket, reader: Reader) -> tuple[Message, list[int]]:
    """As `receive`, for the cell's side: also the descriptors that came along."""
    fds: list[int] = []
    while (message := reader.next()) is None:
        data, ancillary, _, _ = channel.recvmsg(AT_ONCE, socket.CMSG_SPACE(_MAX_FDS * 4))
        if not data:
            raise ClosedError("the other side closed its end")
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds += array.array("i", payload[: len(payload) - len(payload) % 4])
        reader.feed(data)
    return message, fds
