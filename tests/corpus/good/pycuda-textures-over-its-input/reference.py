import torch


def reference(x, z):
    s = x + z
    return (s + s.roll(1, 0) + s.roll(-1, 0) + s.roll(1, 1) + s.roll(-1, 1)) / 5
