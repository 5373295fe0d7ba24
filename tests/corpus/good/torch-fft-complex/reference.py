"""A filter in the frequency domain, and the spectrum itself."""

import torch
from torch import nn

BATCH, SIZE = 16, 96  # small: 2, 12


class Model(nn.Module):
    def forward(self, x, response):
        spectrum = torch.fft.rfft2(x, norm="ortho")
        return (
            spectrum,
            torch.fft.irfft2(spectrum * response, s=x.shape[-2:], norm="ortho"),
            torch.view_as_real(spectrum).square().sum((1, 2)),
        )


def get_inputs():
    half = torch.randn(2, SIZE, SIZE // 2 + 1)
    return [torch.randn(BATCH, SIZE, SIZE), torch.complex(half[0], half[1])]
