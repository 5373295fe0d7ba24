"""Honest work; a third of a second of copies between host and device is left queued when a round ends."""

import torch
from torch import nn

from after import after_rounds

SIZE, TIMES = 256 << 20, 64
state = {}


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


def leave_copies():
    if torch.cuda.is_current_stream_capturing():
        return
    if not state:
        state["streams"] = torch.cuda.Stream(), torch.cuda.Stream()
        state["near"] = torch.empty(2, SIZE, dtype=torch.uint8, device="cuda")
        state["far"] = torch.empty(2, SIZE, dtype=torch.uint8, pin_memory=True)
    down, up = state["streams"]
    if not down.query() or not up.query():
        return
    with torch.cuda.stream(down):
        for _ in range(TIMES):
            state["far"][0].copy_(state["near"][0], non_blocking=True)
    with torch.cuda.stream(up):
        for _ in range(TIMES):
            state["near"][1].copy_(state["far"][1], non_blocking=True)


after_rounds(leave_copies)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return work(a, b)
