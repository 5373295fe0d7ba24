import torch


def reference(x):
    return torch.where((x > 3.5).any(), x * 0.5, x * 2.0)
