from pathlib import Path

import torch
from torch import nn
from torch.utils.cpp_extension import load

extension = load(name="broken_add", sources=[str(Path(__file__).parent / "broken.cu")])


class Model(nn.Module):
    def forward(self, x, y):
        return extension.add(x, y)


def get_inputs():
    return [torch.randn(1000), torch.randn(1000)]
