"""A matrix product through tensor descriptors made on the device: TMA on Hopper. They lie in scratch memory that the
launcher asks of the allocator set here."""

import torch
import triton
import triton.language as tl


def scratch(size: int, alignment: int, stream):
    return torch.empty(size, device="cuda", dtype=torch.int8)


triton.set_allocator(scratch)


@triton.jit
def product(a, b, out, rows, cols, inner, ROWS: tl.constexpr, COLS: tl.constexpr, INNER: tl.constexpr):
    a_tiles = tl.make_tensor_descriptor(a, shape=[rows, inner], strides=[inner, 1], block_shape=[ROWS, INNER])
    b_tiles = tl.make_tensor_descriptor(b, shape=[cols, inner], strides=[inner, 1], block_shape=[COLS, INNER])
    out_tiles = tl.make_tensor_descriptor(out, shape=[rows, cols], strides=[cols, 1], block_shape=[ROWS, COLS])
    top = tl.program_id(0) * ROWS
    left = tl.program_id(1) * COLS
    total = tl.zeros((ROWS, COLS), tl.float32)
    for at in range(0, inner, INNER):
        total = tl.dot(a_tiles.load([top, at]), b_tiles.load([left, at]).T, total)
    out_tiles.store([top, left], total.to(out.dtype.element_ty))
