"""A dictionary with tensors, numbers, a text, nothing at all and a tuple; and a scalar tensor."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, given, scale):
        assert given["mode"] == "fast" and given["mask"] is None
        x, (low, high) = given["x"], given["bounds"]
        return x.clamp(low, high) * scale + given["shift"] * given["flags"]


def get_inputs():
    given = {"x": torch.randn(48, 32), "bounds": (-1, 0.5), "mode": "fast", "mask": None, "shift": torch.rand(32)}
    return [given | {"flags": torch.rand(48, 1) > 0.5}, torch.randn(())]
