"""A Triton kernel by contract: evald makes the tensors, launches the grid and passes the arguments in the order of `io.args`.

No wrapper function, no torch code: the file needs nothing but the kernel. 5000 elements in blocks of 1024 are 5 programs, the last
of them only partly full: hence the mask. `out` is filled with a pattern before the call that must be gone afterwards. `work` in the contract says what a call
has to do at least: 5000 additions, and three tensors of 20000 bytes each that have to be read or written.
"""

import triton
import triton.language as tl


@triton.jit
def add(x_ptr, y_ptr, out_ptr, n, BLOCK: tl.constexpr):
    offsets = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < n
    x = tl.load(x_ptr + offsets, mask=inside)
    y = tl.load(y_ptr + offsets, mask=inside)
    tl.store(out_ptr + offsets, x + y, mask=inside)
