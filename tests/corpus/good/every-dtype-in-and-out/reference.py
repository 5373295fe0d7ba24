"""Something of each tensor, in its own dtype; what torch computes with few dtypes it computes with wider ones."""

import torch
from torch import nn

FLOATS = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
SIGNED = [torch.int64, torch.int32, torch.int16, torch.int8]
UNSIGNED = [torch.uint8, torch.uint16, torch.uint32, torch.uint64]
COMPLEX = [torch.complex64, torch.complex128]


class Model(nn.Module):
    def forward(self, given):
        found = {}
        for name, x in given.items():
            if x.dtype.is_complex:
                found[name] = x * x
            elif x.dtype.is_floating_point:
                found[name] = (x.double() * 0.5).to(x.dtype)
            elif x.dtype is torch.bool:
                found[name] = x ^ x.roll(1)
            else:
                found[name] = (x.long() * 2 + 1).to(x.dtype)
        return found


def get_inputs():
    given = {str(dtype): torch.randn(40, 25).to(dtype) for dtype in FLOATS}
    given |= {str(dtype): torch.randint(-60, 60, (40, 25)).to(dtype) for dtype in SIGNED}
    given |= {str(dtype): torch.randint(0, 120, (40, 25)).to(dtype) for dtype in UNSIGNED}
    given |= {str(dtype): torch.randn(40, 25, dtype=dtype) for dtype in COMPLEX}
    return [given | {"bool": torch.rand(40, 25) > 0.5}]
