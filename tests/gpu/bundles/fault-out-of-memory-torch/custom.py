import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        scratch = torch.empty(1 << 40, dtype=torch.float32, device=x.device)  # 4 TiB
        return x + scratch[:1000]


def get_inputs():
    return [torch.randn(1000)]
