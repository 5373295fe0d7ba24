"""A class that is no nn.Module, and a method that is not called forward."""

import torch


class Standardiser:
    def __init__(self):
        self.calls = 0

    def apply(self, x, eps, centred):
        self.calls += 1
        mean = x.mean(dim=-1, keepdim=True)
        spread = (x * x).mean(dim=-1, keepdim=True) - mean * mean
        return (x - mean * float(centred)) * torch.rsqrt(spread + eps)
