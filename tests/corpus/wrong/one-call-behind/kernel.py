"""A pipeline of two buffers, off by one: it answers with what the call before computed."""

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.before = None

    def forward(self, a, b):
        now = a.tanh() * b
        answer = now if self.before is None else self.before
        self.before = now
        return answer
