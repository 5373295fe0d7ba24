"""Softmax without taking the row's maximum off first: large logits overflow, and no number is left."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        e = x.exp()
        return e / e.sum(dim=-1, keepdim=True)
