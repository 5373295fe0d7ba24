"""The smallest bundle: one PyTorch module, built, run and timed. Nothing is compared."""

import torch
from torch import nn


class Model(nn.Module):
    """Without metadata in the contract, evald constructs the class `Model` and calls it."""

    def forward(self, x, y):
        return x + y


def get_inputs():
    """What one call gets. evald calls this again for every trial, seeded with a secret: no two trials see the same numbers."""
    return [torch.randn(256, 256), torch.randn(256, 256)]
