"""Raises once it has been called eight times: a workspace that nobody gives back is used up."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        self.free = getattr(self, "free", 8) - 1
        if self.free < 0:
            raise BufferError("the workspace is used up")
        return a.tanh() * b
