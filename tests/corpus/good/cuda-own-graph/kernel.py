"""Captures its own CUDA graph over static buffers in the first call, and replays it in every later one."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.graph = None

    def record(self, a, b):
        self.a, self.b = a.clone(), b.clone()
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(2):
                self.out = torch.addcmul(self.a, self.a.tanh(), self.b)
        torch.cuda.current_stream().wait_stream(aside)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.out = torch.addcmul(self.a, self.a.tanh(), self.b)

    def forward(self, a, b):
        if self.graph is None:
            self.record(a, b)
        self.a.copy_(a)
        self.b.copy_(b)
        self.graph.replay()
        return self.out.clone()
