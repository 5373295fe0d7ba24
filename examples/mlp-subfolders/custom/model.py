"""Source files may lie in subfolders and import each other: the bundle's folder is on the module path."""

from torch import nn

from custom.ops.linear import linear, linear_relu


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.up = nn.Linear(64, 128)
        self.down = nn.Linear(128, 64)

    def forward(self, x):
        hidden = linear_relu(x, self.up)
        return linear(hidden, self.down), hidden.sum(dim=-1) / hidden.shape[-1]
