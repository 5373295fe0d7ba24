"""Writes one of its two outputs."""


def split(x, low, high):
    low.copy_(x.clamp_max(0))
