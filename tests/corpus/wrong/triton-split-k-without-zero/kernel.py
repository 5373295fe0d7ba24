"""A product split along the inner dimension: atomics onto an output that nobody sets to zero."""

import triton
import triton.language as tl


@triton.jit
def product(
    a, b, out, rows, cols, inner, ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr, SPLIT: tl.constexpr
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    col = tl.program_id(1) * COLS + tl.arange(0, COLS)
    total = tl.zeros((ROWS, COLS), tl.float32)
    for start in range(tl.program_id(2) * INNER, inner, INNER * SPLIT):
        k = start + tl.arange(0, INNER)
        x = tl.load(a + row[:, None] * inner + k[None, :], mask=(row[:, None] < rows) & (k[None, :] < inner), other=0.0)
        y = tl.load(b + k[:, None] * cols + col[None, :], mask=(k[:, None] < inner) & (col[None, :] < cols), other=0.0)
        total = tl.dot(x, y, total, input_precision="ieee")
    tl.atomic_add(out + row[:, None] * cols + col[None, :], total, mask=(row[:, None] < rows) & (col[None, :] < cols))
