"""A common slip: the sum is divided by the padded block size instead of the number of columns.

The result names the worst element, its expected and actual value, and the largest absolute and relative error.
"""

import triton
import triton.language as tl


@triton.jit
def row_mean(x_ptr, mean_ptr, cols, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    offsets = tl.arange(0, BLOCK)
    x = tl.load(x_ptr + row * cols + offsets, mask=offsets < cols, other=0.0)
    tl.store(mean_ptr + row, tl.sum(x, axis=0) / BLOCK)  # wrong: BLOCK is 256, cols is 200
