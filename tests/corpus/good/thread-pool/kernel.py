"""Splits the rows among a pool of Python threads that outlives the call, and waits for every part."""

from concurrent.futures import ThreadPoolExecutor

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.pool = ThreadPoolExecutor(max_workers=3)

    def forward(self, a, b):
        out = torch.empty_like(a)
        stream = torch.cuda.current_stream() if a.is_cuda else None

        def part(rows):
            with torch.cuda.stream(stream):  # a thread of its own starts on the default stream
                torch.mul(a[rows].tanh(), b[rows], out=out[rows])

        step = -(-a.shape[0] // 3)
        parts = [slice(first, first + step) for first in range(0, a.shape[0], step)]
        for done in [self.pool.submit(part, rows) for rows in parts]:
            done.result()
        return out
