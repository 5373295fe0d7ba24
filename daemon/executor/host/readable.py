"""Whether there is something to be read, by poll: select takes no descriptor beyond 1023. A process that is started by
one with many clients has its channel at the number that it had there."""

from __future__ import annotations

import select
import socket


def is_readable(source: int | socket.socket, timeout_s: float) -> bool:
    """Whether there is something, or comes within `timeout_s`: bytes, or the end of a stream or of a process."""
    poller = select.poll()
    poller.register(source, select.POLLIN)
    return bool(poller.poll(timeout_s * 1000))
