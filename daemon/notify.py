"""Tells systemd how the daemon is: the sd_notify protocol, and the watchdog that is fed only on proof of progress.

Theory of operation. `Notifier` sends datagrams to the socket that the environment names; without one it does nothing.
Who feeds the watchdog is `Keeper`, a thread that sleeps, looks at `Vigil` and pings only when that is content. Nobody
else pings.

The threads that matter (main loop, one per slot) mark what they do *when they have done something*: a turn with a scan,
a database round trip, a message from a judge. Each mark says for how long it is good. When one is too old, the kernel
is asked what the thread is doing (`/proc/self/task`), and that separates two things that look the same from inside:

- *honestly waiting*: the thread does storage work and sleeps in a system call (a disk, a file server, a database that
  does not answer). A restart would not help, so the pings go on and STATUS says what is waited for;
- *wedged*: it runs (an endless loop), waits for a lock of this process (a deadlock), has ended, or waits for a judge
  beyond every deadline. Then nothing is sent, and systemd restarts the service.

A thread that never gives the interpreter back, and a stopped process, stop the keeper itself: nothing is sent either.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import socket
import threading
import time
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from daemon import log

_SEND_LIMIT_S = 1.0
_STATUS_CHARS = 400
_PINGS_PER_PERIOD = 4
_SLOWEST_TURN_S = 10.0
_EXTENSION_S = 30.0
_TASKS = Path("/proc/self/task")
_FUTEX_CALLS = frozenset({"202" if platform.machine() == "x86_64" else "98", "449", "455"})  # futex, _waitv, _wait


class Notifier:
    """The service manager's end of the line. Every message may be sent from any thread; none raises."""

    def __init__(self, address: str = "", watchdog_s: float | None = None) -> None:
        """`address`: path of a datagram socket, `@name` for an abstract one, empty for nobody. `watchdog_s`: how long
        the service manager waits for a ping, None when it wants none.
        """
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s if address else None

    @classmethod
    def from_environment(cls, environ: MutableMapping[str, str] | None = None) -> Notifier:
        """As systemd says. The variables are taken out of `environ`: they are not for our children."""
        environ = os.environ if environ is None else environ
        address = environ.pop("NOTIFY_SOCKET", "")
        period_us, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = period_us.isdecimal() and int(period_us) > 0 and pid in ("", str(os.getpid()))
        return cls(address if address[:1] in ("/", "@") else "", int(period_us) / 1e6 if ours else None)

    @property
    def is_heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._address)

    def ready(self, status: str) -> bool:
        return self._send("READY=1", _status_line(status))

    def status(self, text: str) -> bool:
        return self._send(_status_line(text))

    def alive(self) -> bool:
        """Feed the watchdog."""
        return self._send("WATCHDOG=1")

    def stopping(self, status: str) -> bool:
        return self._send("STOPPING=1", _status_line(status))

    def extend(self, timeout_s: float) -> bool:
        """Ask for at least `timeout_s` more before a start or a stop counts as failed."""
        return self._send(f"EXTEND_TIMEOUT_USEC={math.ceil(timeout_s * 1e6)}")

    def _send(self, *lines: str) -> bool:
        """True when it was delivered."""
        if not self._address:
            return False
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(_SEND_LIMIT_S)
                channel.connect(self._address)
                channel.send("\n".join(lines).encode())
        except OSError as error:
            log.story("the service manager does not listen", level=10, reason=error)
            return False
        return True


def _status_line(text: str) -> str:
    """One line whatever is in it: a bundle's name must not become a message of its own."""
    return "STATUS=" + "".join(c if c.isprintable() else " " for c in text)[:_STATUS_CHARS]


class KernelView(StrEnum):
    """What the kernel says a thread does."""

    RUNNING = "running"
    LOCKED = "waiting for a lock"
    BLOCKED = "waiting in the kernel"
    GONE = "has ended"


def kernel_view(tid: int, tasks: Path = _TASKS) -> KernelView:
    """Look at a thread of this process by its kernel id."""
    try:
        state = (tasks / str(tid) / "stat").read_bytes().rpartition(b") ")[2][:1]
        call = (tasks / str(tid) / "syscall").read_text("ascii").partition(" ")[0]
    except (FileNotFoundError, ProcessLookupError):
        return KernelView.GONE
    if state == b"D":
        return KernelView.BLOCKED
    if state != b"S" or call == "running":
        return KernelView.RUNNING
    return KernelView.LOCKED if call in _FUTEX_CALLS else KernelView.BLOCKED


@dataclass(frozen=True)
class _Mark:
    thread: str
    doing: str
    at_s: float
    limit_s: float
    storage: bool


@dataclass(frozen=True)
class Liveness:
    """`wedged` and `waiting` name threads, what they were doing and since when; `moved`: marks since the start."""

    wedged: tuple[str, ...]
    waiting: tuple[str, ...]
    moved: int


class Vigil:
    """What each thread proved last."""

    def __init__(self, view: Callable[[int], KernelView] = kernel_view) -> None:
        self._view = view
        self._marks: dict[int, _Mark] = {}
        self._moved = 0
        self._lock = threading.Lock()

    def mark(self, doing: str, limit_s: float, *, storage: bool = False) -> None:
        """The calling thread has come so far, and begins `doing`. That is good for `limit_s`, and, where `storage` says
        that it waits for disk or database, for as long as it sleeps in the kernel.
        """
        mark = _Mark(threading.current_thread().name, doing, time.monotonic(), limit_s, storage)
        with self._lock:
            self._marks[threading.get_native_id()] = mark
            self._moved += 1

    def look(self) -> Liveness:
        """Judge every thread that has ever marked anything."""
        now_s = time.monotonic()
        with self._lock:
            marks, moved = dict(self._marks), self._moved
        wedged: list[str] = []
        waiting: list[str] = []
        for tid, mark in marks.items():
            view = self._view(tid)
            age_s = now_s - mark.at_s
            if view is KernelView.GONE:
                wedged.append(f"{mark.thread} has ended while {mark.doing}")
            elif age_s > mark.limit_s:
                honest = mark.storage and view is KernelView.BLOCKED
                text = f"{mark.doing} for {age_s:.0f} s"
                (waiting if honest else wedged).append(text if honest else f"{mark.thread} is {view}: {text}")
        return Liveness(tuple(wedged), tuple(waiting), moved)


class Keeper:
    """Feeds the watchdog and sends STATUS, as a context manager around the work. Does nothing when nobody listens."""

    def __init__(self, notifier: Notifier, vigil: Vigil) -> None:
        self._notifier = notifier
        self._vigil = vigil
        self._every_s = min((notifier.watchdog_s or math.inf) / _PINGS_PER_PERIOD, _SLOWEST_TURN_S)
        self._status = ""
        self._sent = ""
        self._moved = 0
        self._complained = False
        self._stopping = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="watchdog", daemon=True)

    def __enter__(self) -> Keeper:
        if self._notifier.is_heard:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_SEND_LIMIT_S)

    def say(self, status: str) -> None:
        """What STATUS shall say from now on."""
        self._status = status
        self._tell(status)

    def stopping(self, status: str) -> None:
        """From now on progress buys time for the stop instead of feeding the watchdog."""
        self._stopping = True
        self._notifier.stopping(status)

    def turn(self) -> bool:
        """Look once and tell. True when a ping went out."""
        found = self._vigil.look()
        if self._stopping:
            if found.moved != self._moved:
                self._notifier.extend(_EXTENSION_S)
            self._moved = found.moved
            return False
        self._tell("; ".join((*found.wedged, *(f"waiting: {text}" for text in found.waiting), self._status)))
        if found.wedged:
            if not self._complained:
                log.story("wedged: no more pings for the watchdog", level=40, reason="; ".join(found.wedged))
            self._complained = True
            return False
        self._complained = False
        return found.moved > 0 and self._notifier.alive()

    def _tell(self, text: str) -> None:
        if text and text != self._sent and self._notifier.status(text):
            self._sent = text

    def _serve(self) -> None:
        while not self._ended.wait(self._every_s):
            with contextlib.suppress(OSError):  # out of descriptors: the next turn tries again
                self.turn()
