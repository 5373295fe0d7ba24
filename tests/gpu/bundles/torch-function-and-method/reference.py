import torch


def standardise(x, eps, centred):
    variance, mean = torch.var_mean(x, dim=-1, keepdim=True, correction=0)
    return ((x - mean) if centred else x) / torch.sqrt(variance + eps)
