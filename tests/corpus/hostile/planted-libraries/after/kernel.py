"""Looks for libraries and modules that the bundle before it has replaced, and works honestly."""

import sys
from pathlib import Path

import torch
from torch import nn

MARK = b"planted-library-mark"


def found():
    mapped = {line.split(maxsplit=5)[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line}
    yield from (path for path in mapped if path.startswith(("/tmp/lib", "/dev/shm")))
    places = [Path(torch.__file__), *(Path(torch.__file__).parent / "lib").iterdir()]
    places += [
        Path(item.__file__)
        for item in list(sys.modules.values())
        if "daemon" in (getattr(item, "__file__", None) or "")
    ]
    for path in places:
        if path.is_file():
            with path.open("rb") as stream:
                if stream.read(len(MARK)) == MARK:
                    yield str(path)


print(f"found={list(found())}", flush=True)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
