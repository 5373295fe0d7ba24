"""Inputs that must be valid, not random: the index comes with the contract as bytes (`data_b64`).

The bytes are the elements in C order, little endian, here compressed by zlib and then written in base64:

    base64.b64encode(zlib.compress(index.astype("<i8").tobytes())).decode()

The table stays random and secret; copying is exact, so the tolerance of `out` is zero.
"""

import triton
import triton.language as tl


@triton.jit
def gather_rows(table_ptr, index_ptr, out_ptr, WIDTH: tl.constexpr, ROWS: tl.constexpr):
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    cols = tl.arange(0, WIDTH)
    chosen = tl.load(index_ptr + rows)
    values = tl.load(table_ptr + chosen[:, None] * WIDTH + cols[None, :])
    tl.store(out_ptr + rows[:, None] * WIDTH + cols[None, :], values)
