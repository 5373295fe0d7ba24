"""Two tuned kernels that change what they are given: one has its output set to zero between tries, the other its argument
restored."""

import torch
import triton
import triton.language as tl
from torch import nn

ROWS = [triton.Config({"BLOCK": block}, num_warps=warps) for block, warps in ((16, 4), (32, 4), (64, 8))]
COLS = [triton.Config({"BLOCK": block}, num_warps=warps) for block, warps in ((64, 2), (128, 4))]


@triton.autotune(ROWS, key=["rows", "columns"], reset_to_zero=["sums"])
@triton.jit
def add_up(x, sums, rows, columns, WIDTH: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    col = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = (row[:, None] < rows) & (col[None, :] < columns)
    value = tl.load(x + row[:, None] * columns + col[None, :], mask=inside, other=0.0)
    tl.atomic_add(sums + col, tl.sum(value, 0), mask=col < columns)


@triton.autotune(COLS, key=["columns"], restore_value=["average"])
@triton.heuristics({"EVEN": lambda args: args["columns"] % args["BLOCK"] == 0})
@triton.jit
def blend(average, sums, columns, factor, BLOCK: tl.constexpr, EVEN: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if EVEN:
        tl.store(average + at, tl.load(average + at) * (1 - factor) + tl.load(sums + at) * factor)
    else:
        value = tl.load(average + at, mask=at < columns) * (1 - factor) + tl.load(sums + at, mask=at < columns) * factor
        tl.store(average + at, value, mask=at < columns)


class ModelNew(nn.Module):
    def forward(self, x, average):
        rows, columns = x.shape
        sums = torch.zeros(columns, device=x.device)
        add_up[lambda meta: (triton.cdiv(rows, meta["BLOCK"]), triton.cdiv(columns, 64))](
            x, sums, rows, columns, WIDTH=64
        )
        average = average.clone()
        blend[lambda meta: (triton.cdiv(columns, meta["BLOCK"]),)](average, sums, columns, 0.1)
        return sums, average
