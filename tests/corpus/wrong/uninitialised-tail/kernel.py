"""Works in whole blocks of 64 and leaves the last, incomplete one as it was."""

import torch


def scale(x, out):
    whole = x.shape[0] // 64 * 64
    torch.mul(x[:whole], 2, out=out[:whole])
