"""Layer normalisation over the last dimension."""

import torch.nn.functional as F


def layer_norm(x, weight, bias):
    return F.layer_norm(x, (x.shape[-1],), weight, bias)
