import torch


def doubled(x):
    return x * 2, torch.full((1,), 256, dtype=torch.int32, device=x.device)
