"""Rows looked up by 64-bit indices and normalised. Two helper kernels, one calling the other, stand before the entry;
heuristics choose the block and whether masks are needed."""

import triton
import triton.language as tl


@triton.jit
def mean_of(value, columns):
    return tl.sum(value, axis=0) / columns


@triton.jit
def normalised(value, inside, columns):
    centred = tl.where(inside, value - mean_of(value, columns), 0.0)
    return centred * tl.rsqrt(mean_of(centred * centred, columns) + 1e-5)


@triton.heuristics(
    {
        "BLOCK": lambda args: triton.next_power_of_2(args["columns"]),
        "EVEN": lambda args: args["columns"] % 128 == 0,
    }
)
@triton.jit
def lookup(table, index, out, columns, far, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    source = tl.load(index + row)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    # `far` needs 33 bits: there and back again only works in 64.
    start = source * columns + far
    if EVEN:
        value = tl.load(table + (start - far) + at)
    else:
        value = tl.load(table + (start - far) + at, mask=inside, other=0.0)
    tl.store(out + row * columns + at, normalised(value, inside, columns), mask=inside)
