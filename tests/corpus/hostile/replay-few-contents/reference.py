"""Honest work on an input that takes only four values."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, choice):
        c = torch.linspace(-3, 3, 65536, device=choice.device) * (choice + 1)
        for _ in range(30):
            c = torch.sin(2 * c + choice)
        return c + torch.linspace(-3, 3, 65536, device=choice.device)


def get_inputs():
    return [torch.randint(0, 4, (1,)).float()]
