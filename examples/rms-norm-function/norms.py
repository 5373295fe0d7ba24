"""Two functions in one file, chosen by `metadata.function_name`. The inputs come from `io` in the contract instead of get_inputs().

The custom kernel has no `io`: it is called exactly as the reference is. Because both sides name this file, both can read it.
"""

import torch


def rms_norm(x, weight, eps):
    """As the paper writes it: divide by the root of the mean square."""
    return x / torch.sqrt(x.pow(2).mean(dim=-1, keepdim=True) + eps) * weight


def rms_norm_rsqrt(x, weight, eps):
    """A product with the reciprocal root, the square by multiplication."""
    return x * torch.rsqrt((x * x).mean(dim=-1, keepdim=True) + eps) * weight
