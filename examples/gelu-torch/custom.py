"""The custom side: the same function written out, x/2 * (1 + erf(x / sqrt(2))).

evald looks for the class `ModelNew`, then `Model`. It never gets to see reference.py.
"""

import math

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return 0.5 * x * (1.0 + torch.erf(x * (1.0 / math.sqrt(2.0))))
