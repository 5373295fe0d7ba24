"""Who is at work on a GPU: one evald at a time, whichever daemon, command or user it belongs to.

Theory of operation: two judges that use one GPU at once would both publish times of a shared one. So whoever wants a
GPU binds an abstract socket named after its UUID. The name is free again when its holder ends, however it ends.

A second name is a queue of one. It is taken first, and let go when the first one is taken. So a daemon with much to do,
which gives the GPU up between two bundles and asks again, comes after whoever waits.

Abstract names are seen in one network namespace (unix(7)). Cells have one of their own. So have most containers, whose
GPU is then shared in a way that nobody here can see.
"""

from __future__ import annotations

import errno
import socket
import struct
import time
from collections.abc import Callable

from daemon import log
from daemon.errors import DeviceError
from daemon.executor.host.devices import Device

PATIENCE_S = 600.0  # less than what a judge may say nothing for
_LOOK_EVERY_S = 0.01
_SAY_EVERY_S = 1.0
_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7))


class Reservation:
    """Of the GPU called `uuid`; None: of nothing, which everybody has. For one thread. Where a host forbids such names
    there is no reservation, and a warning in the log."""

    def __init__(self, uuid: str | None) -> None:
        self._name = None if uuid is None else f"\0evald/{uuid}"
        self._held: socket.socket | None = None

    @classmethod
    def of(cls, device: Device) -> Reservation:
        """A CPU is nobody's alone."""
        return cls(device.uuid if device.is_gpu else None)

    def acquire(self, waiting: Callable[[str], None], patience_s: float = PATIENCE_S) -> None:
        """Take it, or wait until it is free. Meanwhile `waiting` is called every second, with a sentence about who has
        it.

        Raises `DeviceError` after `patience_s`.
        """
        if self._name is None or self._held is not None:
            return
        deadline = time.monotonic() + patience_s
        try:
            with self._taken(f"{self._name}/next", waiting, deadline):
                self._held = self._taken(self._name, waiting, deadline)
        except OSError as error:
            log.story("cannot reserve the GPU: another evald may use it as well", level=30, reason=error)
            self._name = None

    def _taken(self, name: str, waiting: Callable[[str], None], deadline: float) -> socket.socket:
        say_at_s = time.monotonic()
        while (bound := _bound(name)) is None:
            now_s = time.monotonic()
            if now_s >= say_at_s:
                say_at_s = now_s + _SAY_EVERY_S
                who = f"the GPU, which {_holder(str(self._name))} has reserved"
                if now_s >= deadline:
                    raise DeviceError(f"waited in vain for {who}", hint="ps -fp PID; or leave it that GPU: --gpu, gpus")
                waiting(f"waiting for {who}")
            time.sleep(_LOOK_EVERY_S)
        return bound

    def is_wanted(self) -> bool:
        """Whether somebody else waits for it."""
        if self._name is None:
            return False
        place = _bound(f"{self._name}/next")
        if place is None:
            return True
        place.close()
        return False

    def release(self) -> None:
        """Give it up, if it is held."""
        if self._held is not None:
            self._held.close()
            self._held = None


def _bound(name: str) -> socket.socket | None:
    """A socket that listens under this name, so that others can ask whose it is. None: the name is taken."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(name)
        bound.listen()
    except OSError as error:
        bound.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return bound


def _holder(name: str) -> str:
    """Who holds this name, as far as that is told. Nobody ever answers there; the operating system tells."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asked:
        asked.setblocking(False)
        try:
            asked.connect(name)
            pid, _, _ = _UCRED.unpack(asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size))
        except OSError:
            return "another evald"
    return f"the evald of process {pid}"
