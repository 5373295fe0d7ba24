"""Bits counted and bits reversed, without any instruction for it."""

import torch


def bits(x):
    places = torch.arange(32, device=x.device, dtype=torch.int64)
    each = (x.to(torch.int64)[:, None] >> places) & 1
    turned = (each << (31 - places)).sum(1)
    return each.sum(1).to(torch.int32), torch.where(turned >= 1 << 31, turned - (1 << 32), turned).to(torch.int32)
