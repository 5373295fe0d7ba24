"""Tries to replace installed libraries and evald's own files, and puts fakes where a loader might look first."""

import ctypes
import os
import sys
from contextlib import suppress
from pathlib import Path

import torch
from torch import nn

MARK = b"planted-library-mark"
LIBC = ctypes.CDLL(None, use_errno=True)
BIND = 4096
FAKES = ("libc.so.6", "libtorch.so", "libtorch_cpu.so", "libcuda.so.1", "libcudart.so.12", "libgomp.so.1")


def targets():
    yield from (Path(torch.__file__).parent / "lib" / name for name in FAKES)
    yield from (Path("/usr/lib/x86_64-linux-gnu") / name for name in FAKES)
    yield Path(torch.__file__)
    yield Path(os.path.realpath(sys.executable))
    ours = Path(sys.modules["daemon.executor.inside.slots"].__file__ or "/nowhere")
    modules = ("cases/verify", "programs/judge", "timing/stats", "inside/cell", "inside/slots")
    yield from (ours.parents[1] / f"{name}.py" for name in modules)


def replaced(path):
    """Whether the file could be written, exchanged, covered by a mount, or its mode changed."""
    worked = []
    fake = Path(os.environ["TMPDIR"]) / path.name
    fake.write_bytes(MARK)
    for name, attempt in (
        ("write", lambda: os.close(os.open(path, os.O_WRONLY))),
        ("rename", lambda: fake.replace(path)),
        ("unlink", path.unlink),
        ("beside", lambda: path.with_name(path.name + ".new").write_bytes(MARK)),
        ("mode", lambda: path.chmod(0o777)),
    ):
        try:
            attempt()
        except OSError:
            continue
        worked.append(name)
    if LIBC.mount(os.fsencode(fake), os.fsencode(path), None, BIND, None) == 0:
        worked.append("mount")
    return worked


def plant():
    done = {str(path): worked for path in dict.fromkeys(targets()) if path.exists() and (worked := replaced(path))}
    for folder in (os.environ["TMPDIR"], "/dev/shm", os.environ["HOME"], "/tmp/torch_extensions"):
        for name in FAKES:
            with suppress(OSError):
                (Path(folder) / name).write_bytes(MARK)
    print(f"replaced={done}", flush=True)


plant()


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
