"""Wakes the main loop when something may have happened in the inbox.

Theory of operation. The truth about the inbox is the periodic scan of its names; this module never decides anything.
It answers two smaller questions earlier: "is it worth scanning now?", and "which names arrived by a rename, hence
complete?".

- watchdog's inotify events are hints. They may be late, lost in an overflow, or missing for what was there before;
  whoever relies on `wait` alone scans at least every `scan_interval_s`. A hint is kept until it is fetched. It is
  dropped again when its name is created or deleted after that: then it speaks about another entry.
- Only renames to a name directly in the inbox count as moved in, whether from outside or from a hidden name inside.
  Created and modified entries only wake the loop: somebody may still be writing them.
- Renames away are not asked for: watchdog holds each of them, and every event behind it, back for half a second to
  find its other half. Every claim is one, so the next bundle would wait for it. They say nothing we need: a name
  that is gone is not in the scan, and one that comes back in place is created.
- inotify does not see what other hosts do. On a network file system (`auto`), `wait` sleeps from scan to scan instead.
- Threads: watchdog's own threads call `_Handler`, which only adds to a bounded set under a lock and wakes the loop;
  when the set is full, further names are dropped and the loop is just woken. The owner calls `wait` from one thread,
  and every call looks after the observer: a dead thread, an inbox that vanished, came back or was replaced, and an
  exhausted inotify limit lead to a fresh observer, or to polling until one can be had. An inbox that cannot be looked
  at counts as one that vanished: what is wrong with it, the scan says.
- `wake` may be called from a signal handler, so it waits for no lock: it writes to an eventfd, on which `wait` sleeps.
  A `threading.Event` would not do: a handler that runs inside its `wait` could wait for itself. A number that was just
  closed may be another file's, a database's say: so one thread at a time writes, whoever comes meanwhile has it write
  again, and the end waits for it.
- A hint is about an entry of the folder that was watched: with a new observer, which may watch another one, they start
  from nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.inotify import InotifyFullEmitter, InotifyObserver
from watchdog.observers.inotify_c import InotifyConstants, Mask
from watchdog.utils import BaseThread

from daemon.log import story
from daemon.mounts import mount_of

Polling = Literal["auto", "always", "never"]

_EVENTS: list[type[FileSystemEvent]] = [
    DirMovedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    FileCreatedEvent,
    DirDeletedEvent,
    FileDeletedEvent,
    FileClosedEvent,
]
_HINT_LIMIT = 10_000
_RETRY_S = 30.0
_STOP_S = 5.0


@dataclass(frozen=True)
class Hints:
    """What `wait` learned. `moved_in`: names that arrived by a rename; `woke`: False when it was just time to scan."""

    moved_in: frozenset[str]
    woke: bool


class Watcher:
    """Watches one inbox, as a context manager. Nothing is claimed or renamed here."""

    def __init__(self, inbox: Path, *, polling: Polling = "auto", scan_interval_s: float = 1.0) -> None:
        self._inbox = inbox
        self._polling = polling
        self._scan_interval_s = scan_interval_s
        self._hints = _HintSet()
        self._observer: _Observer | None = None
        self._retry_at_s = 0.0
        self._reason = "not started"
        self._wakeup = -1
        self._waking = threading.Lock()  # of whoever writes to it, or closes it
        self._is_wanted = False

    def __enter__(self) -> Watcher:
        self._wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._supervise()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._drop_observer()
        self._reason = "stopped"
        with self._waking:
            wakeup, self._wakeup = self._wakeup, -1
            os.close(wakeup)

    @property
    def mode(self) -> str:
        """`inotify`, or `polling (…)` with the reason."""
        return "inotify" if self._observer else f"polling ({self._reason})"

    def wake(self) -> None:
        """End a `wait` early, or the next one at once. May be called from any thread and from a signal handler."""
        self._is_wanted = True
        while self._is_wanted and self._waking.acquire(blocking=False):
            try:
                self._is_wanted = False
                if self._wakeup >= 0:
                    with contextlib.suppress(OSError):  # the counter is full: awake anyway
                        os.eventfd_write(self._wakeup, 1)
            finally:
                self._waking.release()

    def wait(self, timeout_s: float) -> Hints:
        """Sleep until something may have happened, at most `timeout_s` or until the next scan is due."""
        self._supervise()
        woke = self._sleep(min(timeout_s, self._scan_interval_s))
        self._supervise()
        return Hints(self._hints.take(), woke)

    def _sleep(self, limit_s: float) -> bool:
        poller = select.poll()
        poller.register(self._wakeup, select.POLLIN)
        woke = bool(poller.poll(max(0.0, limit_s) * 1000))
        if woke:
            with contextlib.suppress(BlockingIOError):
                os.eventfd_read(self._wakeup)
        return woke

    def _supervise(self) -> None:
        """Make sure that a living observer watches the folder that is the inbox now, if there can be one."""
        if self._observer and self._observer.watches(self._inbox):
            return
        if self._observer:
            self._fall_back("the watch was lost")
        forced = self._polling_reason()
        if forced:
            self._fall_back(forced)
        elif time.monotonic() >= self._retry_at_s:
            self._start_observer()

    def _polling_reason(self) -> str | None:
        if self._polling == "always":
            return "as configured"
        try:
            if not self._inbox.is_dir():
                return "no inbox"
            inbox = self._inbox.resolve(strict=True)  # Python 3.13 takes a link that cannot be read for a folder
            mount = mount_of(inbox) if self._polling == "auto" else None
        except OSError:  # `is_dir` raises some: a stale handle, an I/O error, a folder above that is closed to us
            return "no inbox"
        return mount.fstype if mount and mount.is_network else None

    def _start_observer(self) -> None:
        self._hints = _HintSet()
        try:
            self._observer = _Observer(self._inbox, self._hints, self.wake)
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            self._retry_at_s = time.monotonic() + _RETRY_S
            self._fall_back(f"inotify: {getattr(error, 'strerror', None) or error}")
            return
        self._reason = ""
        self.wake()  # what arrived before the watch was there made no event

    def _fall_back(self, reason: str) -> None:
        self._drop_observer()
        if reason != self._reason:
            story("inbox is polled", inbox=self._inbox, reason=reason)
        self._reason = reason

    def _drop_observer(self) -> None:
        observer, self._observer = self._observer, None
        if observer:
            observer.stop()


class _HintSet:
    """Names moved in and not fetched yet: bounded, shared with watchdog's threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: set[str] = set()

    def add(self, name: str) -> None:
        with self._lock:
            if len(self._names) < _HINT_LIMIT:
                self._names.add(name)

    def discard(self, name: str) -> None:
        with self._lock:
            self._names.discard(name)

    def take(self) -> frozenset[str]:
        with self._lock:
            taken, self._names = frozenset(self._names), set()
        return taken


class _Handler(FileSystemEventHandler):
    """Called in a thread that an exception would end for good: it does nothing that could raise."""

    def __init__(self, folder: str, hints: _HintSet, wake: Callable[[], None]) -> None:
        self._folder = folder
        self._hints = hints
        self._wake = wake

    def dispatch(self, event: FileSystemEvent) -> None:
        source, target = self._entry(event.src_path), self._entry(event.dest_path)
        if source and not isinstance(event, FileClosedEvent):
            self._hints.discard(source)
        if target:
            self._hints.add(target)
        self._wake()

    def _entry(self, path: bytes | str) -> str | None:
        """The name when `path` lies directly in the inbox."""
        folder, _, name = os.fsdecode(path or "").rpartition("/")
        return name if folder == self._folder else None


class _Emitter(InotifyFullEmitter):
    """watchdog's own, but deaf to renames away (see the top)."""

    def get_event_mask_from_filter(self) -> Mask:
        return Mask(super().get_event_mask_from_filter() & ~InotifyConstants.IN_MOVED_FROM)


class _Observer:
    """One watchdog observer on one folder, with the threads it started. Raises `OSError` when inotify is exhausted,
    `RuntimeError` when no thread can be started."""

    def __init__(self, inbox: Path, hints: _HintSet, wake: Callable[[], None]) -> None:
        folder = os.path.realpath(inbox, strict=True)  # watchdog does not follow a link at the end of a path
        status = Path(folder).stat()
        self._identity = (status.st_dev, status.st_ino)
        before = set(threading.enumerate())
        self._observer = InotifyObserver()
        self._observer._emitter_class = _Emitter
        try:
            self._observer.schedule(_Handler(folder, hints, wake), folder, event_filter=_EVENTS)
            self._observer.start()
        except (OSError, RuntimeError):
            self._observer.stop()
            raise
        started = set(threading.enumerate()) - before
        self._threads = [thread for thread in started if isinstance(thread, BaseThread)]

    def watches(self, inbox: Path) -> bool:
        """Whether `inbox` is still the folder being watched and every thread is alive."""
        try:
            status = inbox.stat()
        except OSError:
            return False
        same = (status.st_dev, status.st_ino) == self._identity
        return same and all(thread.is_alive() for thread in self._threads)

    def stop(self) -> None:
        self._observer.stop()
        self._observer.join(_STOP_S)
