"""Measures its first ten calls with CUDA events and prints the fastest of them."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.measured_ms = []

    def forward(self, a, b):
        if len(self.measured_ms) == 10 or torch.cuda.is_current_stream_capturing():
            return a.tanh() * b
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        c = a.tanh() * b
        end.record()
        end.synchronize()
        self.measured_ms.append(start.elapsed_time(end))
        print(f"fastest so far: {min(self.measured_ms):.3f} ms")
        return c
