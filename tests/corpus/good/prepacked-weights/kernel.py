"""Transposes and pads its weights into a layout of its own in the first call, and uses only that copy later."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.up = nn.Linear(features, hidden)
        self.down = nn.Linear(hidden, features, bias=False)
        self.packed = None

    def pack(self):
        padded = -(-self.up.out_features // 64) * 64
        up = self.up.weight.new_zeros(self.up.in_features + 1, padded)
        up[:-1, : self.up.out_features] = self.up.weight.t()
        up[-1, : self.up.out_features] = self.up.bias
        down = self.down.weight.new_zeros(padded, self.down.out_features)
        down[: self.down.in_features] = self.down.weight.t()
        return up, down

    def forward(self, x):
        if self.packed is None:
            self.packed = self.pack()
        up, down = self.packed
        return torch.addmm(up[-1], x, up[:-1]).relu_() @ down
