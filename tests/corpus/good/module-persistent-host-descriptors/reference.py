"""A product with the second factor transposed, in bfloat16."""

import torch
from torch import nn

ROWS, COLS, INNER = 1000, 1040, 520  # small: 100, 72, 72


class Model(nn.Module):
    def forward(self, a, b):
        wide = torch.float64 if a.dtype == torch.float64 else torch.float32
        return (a.to(wide) @ b.to(wide).T).to(a.dtype)


def get_inputs():
    return [torch.randn(ROWS, INNER, dtype=torch.bfloat16), torch.randn(COLS, INNER, dtype=torch.bfloat16)]
