"""Drops at random: it agrees with the reference only because both sides are seeded alike."""

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(x.relu())
