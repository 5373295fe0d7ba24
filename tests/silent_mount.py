"""A file system whose server never answers, mounted on a folder: what any user with FUSE can do in a folder of his."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACH = 2
_GIVEN_UP_S = 240.0


@contextmanager
def mounted(folder: Path) -> Iterator[threading.Event]:
    """`folder` is made, and nobody who asks it anything gets an answer. Who waits nevertheless is let go on with an
    error after some minutes, when the event is set. Skips where none can be mounted."""
    folder.mkdir(parents=True)
    try:
        server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        pytest.skip(f"no FUSE: {error}")
    options = f"fd={server},rootmode=40000,user_id={os.geteuid()},group_id={os.getegid()},allow_other"
    if _LIBC.mount(b"silent", os.fsencode(folder), b"fuse", 0, options.encode("ascii")) != 0:
        os.close(server)
        pytest.skip(f"nothing can be mounted: {os.strerror(ctypes.get_errno())}")
    given_up = threading.Event()

    def give_up() -> None:
        given_up.set()
        os.close(server)

    timer = threading.Timer(_GIVEN_UP_S, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield given_up
    finally:
        timer.cancel()
        timer.join()
        if not given_up.is_set():
            os.close(server)
        _detach(folder)


def _detach(folder: Path) -> None:
    """Wherever it has been moved to: the folders above may have been renamed."""
    for line in Path("/proc/self/mountinfo").read_text("utf-8").splitlines():
        point = line.split(" ")[4]
        if " - fuse silent " in line and Path(point).name == folder.name:
            _LIBC.umount2(os.fsencode(point), _DETACH)
