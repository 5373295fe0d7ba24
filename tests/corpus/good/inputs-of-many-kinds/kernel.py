"""Takes everything from where the reference takes it."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, given, scale):
        low, high = given["bounds"]
        shift = torch.where(given["flags"], given["shift"], 0)
        return torch.addcmul(shift, torch.clip(given["x"], low, high), scale)
