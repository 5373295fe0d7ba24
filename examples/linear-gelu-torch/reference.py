"""A module with parameters: both sides start from the same weights.

evald seeds the random generator alike before each constructor and then copies the reference's state into the custom module,
wherever a name and a shape agree.
"""

import torch
import torch.nn.functional as F
from torch import nn


class Model(nn.Module):
    def __init__(self, features_in, features_out):
        super().__init__()
        self.linear = nn.Linear(features_in, features_out)

    def forward(self, x):
        return F.gelu(self.linear(x))


def get_init_inputs():
    """The arguments of the constructor, on both sides."""
    return [128, 64]


def get_inputs():
    return [torch.randn(64, 128)]
