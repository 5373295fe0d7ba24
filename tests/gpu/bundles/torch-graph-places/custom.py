"""Does what its reference does, and refuses to be captured if what it makes is at the same few places call after call."""

import torch
from torch import nn

CALLS = 64
PLACES = 32
seen = []


class ModelNew(nn.Module):
    def forward(self, a, b):
        c = torch.tanh(a + b)
        if torch.cuda.is_current_stream_capturing():
            seen.append(c.data_ptr())
            if len(seen) >= CALLS and len(set(seen)) < PLACES:
                raise RuntimeError(f"{len(seen)} calls, and only {len(set(seen))} places")
        for _ in range(19):
            c = torch.tanh(c + b)
        return c
