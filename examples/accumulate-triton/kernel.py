"""An argument that is read and written: role `inout`.

`total` has content before the call (it needs an `init`), and its content afterwards is the answer. Every call, timed ones too, gets
a `total` of its own: calls never see each other's results.
"""

import triton
import triton.language as tl


@triton.jit
def axpy(alpha, x_ptr, total_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    x = tl.load(x_ptr + offsets, mask=inside)
    total = tl.load(total_ptr + offsets, mask=inside)
    tl.store(total_ptr + offsets, total + alpha * x, mask=inside)
