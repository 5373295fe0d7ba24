"""Several kernels behind one Python function: torch takes the moments, a Triton kernel applies them.

`metadata.entry_point` names the function; it launches what it likes, and what it returns is the answer. `static_args` in the
contract says that weight and bias stay the same between calls, as weights do.
"""

import torch
import triton
import triton.language as tl


@triton.jit
def scale_rows(x_ptr, mean_ptr, rstd_ptr, weight_ptr, bias_ptr, y_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    inside = offsets < cols
    x = tl.load(x_ptr + row * cols + offsets, mask=inside)
    weight = tl.load(weight_ptr + offsets, mask=inside)
    bias = tl.load(bias_ptr + offsets, mask=inside)
    y = (x - tl.load(mean_ptr + row)) * tl.load(rstd_ptr + row) * weight + bias
    tl.store(y_ptr + row * cols + offsets, y, mask=inside)


def layer_norm(x, weight, bias):
    rows, cols = x.shape
    variance, mean = torch.var_mean(x, dim=-1, correction=0)
    rstd = torch.rsqrt(variance + 1e-5)
    y = torch.empty_like(x)
    scale_rows[(rows,)](x, mean, rstd, weight, bias, y, cols, BLOCK=triton.next_power_of_2(cols))
    return y
