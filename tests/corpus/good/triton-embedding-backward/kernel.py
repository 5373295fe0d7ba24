"""Adds rows to a table by float atomics, several of them to the same row in no particular order."""

import triton
import triton.language as tl


@triton.jit
def scatter(grad, tokens, table, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    token = tl.load(tokens + row)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    value = tl.load(grad + row * columns + at, mask=inside)
    tl.atomic_add(table + token * columns + at, value, mask=inside, sem="relaxed")
