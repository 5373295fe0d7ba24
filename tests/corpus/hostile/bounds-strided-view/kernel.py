"""Writes beyond its first input through a strided view of the arena."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        c = a + b
        storage = a.untyped_storage()
        end = a.storage_offset() + a.numel()
        beyond = torch.tensor([], dtype=a.dtype, device=a.device).set_(storage, 0, (storage.nbytes() // 4,), (1,))
        beyond[end : end + 16].fill_(1.0)
        return c
