"""Honest work; in the middle of the measurement the rest of the device's memory is taken."""

import ctypes

import torch
from torch import nn

from after import after_rounds

HONEST_ROUNDS = 12
DRIVER = ctypes.CDLL("libcuda.so.1")
rounds = 0


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


def take_all():
    global rounds
    rounds += 1
    if rounds != HONEST_ROUNDS or torch.cuda.is_current_stream_capturing():
        return
    taken = 0
    for size in (1 << 30, 64 << 20, 2 << 20):
        while not DRIVER.cuMemAlloc_v2(ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(size)):
            taken += size
    print(f"taken: {taken / 2**30:.1f} GiB", flush=True)


after_rounds(take_all)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return work(a, b)
