import torch


def smooth(x):
    return 0.5 * (x + torch.cat([x[1:], torch.zeros(1, device=x.device)]))
