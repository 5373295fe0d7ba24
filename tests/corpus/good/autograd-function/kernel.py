"""The work stands in the forward of a torch.autograd.Function, called through a forward hook besides."""

import torch
from torch import nn


class Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(a, b)
        return a * b.sigmoid()

    @staticmethod
    def backward(ctx, grad):
        a, b = ctx.saved_tensors
        gate = b.sigmoid()
        return grad * gate, grad * a * gate * (1 - gate)


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0
        self.register_forward_hook(self.count)

    def count(self, module, args, output):
        self.calls += 1

    def forward(self, a, b):
        return Gate.apply(a, b)
