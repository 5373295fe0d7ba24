"""Honest work; after some rounds an illegal access is queued that happens when done has been said."""

import torch
import triton
import triton.language as tl
from torch import nn

from after import after_rounds

HONEST_ROUNDS, CYCLES, FAR = 12, 60_000_000, 1 << 40
state = {"rounds": 0}


@triton.jit(do_not_specialize=["times"])
def poke(place, far, times):
    tl.store(place + far * times, 1)


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


def strike():
    state["rounds"] += 1
    if torch.cuda.is_current_stream_capturing():
        return
    if "side" not in state:
        state["side"] = torch.cuda.Stream()
        state["place"] = torch.zeros(64, dtype=torch.int32, device="cuda")
        poke[(1,)](state["place"], FAR, 0)
        torch.cuda.synchronize()
    if state["rounds"] == HONEST_ROUNDS:
        with torch.cuda.stream(state["side"]):
            torch.cuda._sleep(CYCLES)
            poke[(1,)](state["place"], FAR, 3)


after_rounds(strike)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return work(a, b)
