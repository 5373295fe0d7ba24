"""Leaves files in every cache and folder a later kernel might use, and a process and a socket that outlive the call."""

import ctypes
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path

from torch import nn

MARK = "left-by-an-earlier-bundle"
VARIABLES = ("HOME", "TMPDIR", "TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "CUDA_CACHE_PATH")
LIBC = ctypes.CDLL(None)
KEY, CREATE = 0x65766C64, 0o1666


def folders():
    yield from (Path(os.environ[name]) for name in VARIABLES if name in os.environ)
    home = Path(os.environ["HOME"])
    yield from (
        home / name for name in (".cache/torch", ".cache/pip", ".triton/cache", ".nv/ComputeCache", ".local/lib")
    )
    yield from map(Path, ("/dev/shm", "/var/tmp", "/run", "/", "/etc", "/proc/self/cwd", "/usr/local/lib"))
    for module in list(sys.modules.values()):
        if str(getattr(module, "__name__", "")).startswith(("daemon.executor", "torch.utils", "encodings")):
            yield Path(getattr(module, "__file__", None) or "/nowhere").parent / "__pycache__"


def plant():
    planted = 0
    for folder in dict.fromkeys(folders()):
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / MARK).write_text(MARK)
            planted += 1
    stay()
    print(f"planted={planted > 3}", flush=True)


def stay():
    """A process of its own session with an abstract socket, a pipe in /tmp and a shared memory segment."""
    LIBC.shmget(KEY, 4096, CREATE)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for descriptor in range(3, 256):
                with suppress(OSError):
                    os.close(descriptor)
            listener = socket.socket(socket.AF_UNIX)
            listener.bind("\0" + MARK)
            listener.listen()
            while True:
                listener.accept()[0].sendall(MARK.encode())
        os._exit(0)
    os.wait()


plant()


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
