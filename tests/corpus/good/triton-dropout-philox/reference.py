"""Dropout by Philox 4x32-10 as Triton's tl.rand draws it: counter (index, 0, 0, 0), key (seed, 0)."""

import torch

_A, _B = 0xD2511F53, 0xCD9E8D57
_LOW = 0xFFFFFFFF


def uniform(index, seed):
    c0, c1, c2, c3 = index, torch.zeros_like(index), torch.zeros_like(index), torch.zeros_like(index)
    k0, k1 = seed & _LOW, 0
    for _ in range(10):
        # 32 by 32 bits in halves: a product of 64 bits would not fit int64.
        high_b, low_b = product(c2, _B)
        high_a, low_a = product(c0, _A)
        c0, c1, c2, c3 = high_b ^ c1 ^ k0, low_b, high_a ^ c3 ^ k1, low_a
        k0, k1 = (k0 + 0x9E3779B9) & _LOW, (k1 + 0xBB67AE85) & _LOW
    signed = torch.where(c0 >= 1 << 31, c0 - (1 << 32), c0)
    return torch.where(signed < 0, -signed - 1, signed).to(torch.float32) * 4.6566127342e-10


def product(x, factor):
    low = x * (factor & 0xFFFF)
    high = x * (factor >> 16)
    total = low + ((high & 0xFFFF) << 16)
    return (high >> 16) + (total >> 32), total & _LOW


def dropout(x):
    index = torch.arange(x.numel(), device=x.device)
    return torch.where(uniform(index, 20231) > 0.3, x / 0.7, torch.zeros_like(x))
