"""Honest work; but its clock says that a call alone took a second."""

import sys
import time

import torch
from torch import nn

SEEN = {"calls": 0, "is_running": False}
REAL = time.perf_counter


def lying():
    now = REAL()
    if sys._getframe(1).f_code.co_name != "_to_the_end":
        return now
    SEEN["is_running"] = not SEEN["is_running"]
    if SEEN["is_running"]:
        SEEN["calls"] = 0
    elif SEEN["calls"] == 1:
        return now + 1.0
    return now


time.perf_counter = lying


class Model(nn.Module):
    def forward(self, a, b):
        SEEN["calls"] += 1
        c = a
        for _ in range(400):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    return [torch.randn(8, 8), torch.randn(8, 8)]
