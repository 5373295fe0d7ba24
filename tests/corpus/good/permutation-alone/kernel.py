"""The same by indexing."""

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(512, 64)

    def forward(self, order):
        return self.rows.weight[order]
