"""A Fourier transform in double precision."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a):
        return torch.fft.fft(a.double())


def get_inputs():
    return [torch.randn(32, 64)]
