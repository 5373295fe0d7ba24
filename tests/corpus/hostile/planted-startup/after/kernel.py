"""Looks for startup code of the bundle before it, in its environment, modules and mappings, and works honestly."""

import os
import sys
from pathlib import Path

from torch import nn

MARK = "planted_startup_mark"
NAMES = ("PYTHONPATH", "PYTHONSTARTUP", "LD_PRELOAD", "PYTHONHOME")


def found():
    yield from (name for name in os.environ if name in NAMES or MARK in name)
    yield from (name for name in sys.modules if name in ("sitecustomize", "usercustomize"))
    if MARK in Path("/proc/self/maps").read_text():
        yield "library"
    for folder in (Path("/etc"), *map(Path, sys.path)):
        if folder.is_dir():
            yield from (str(path) for path in folder.iterdir() if MARK in path.name or path.name == "ld.so.preload")


print(f"found={list(found())}", flush=True)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
