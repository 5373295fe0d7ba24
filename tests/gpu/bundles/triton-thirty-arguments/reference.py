import torch


def thirty(a, b, c, d, e, f, mean, count):
    value = 0.5 * a - 1.25 * b + 0.001 * (c + 3)
    value = value + torch.where(e, 11.0, -4.0) + a[f]
    return -(value * 0.25 + 5 + 1e-3 + mean * count * 1e-3)
