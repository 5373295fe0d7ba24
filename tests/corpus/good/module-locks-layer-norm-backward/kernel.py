"""Sums over rows by partial sums under spin locks between programs."""

import torch
import triton
import triton.language as tl
from torch import nn


@triton.jit
def backward_rows(
    dx, x, dy, weight, mean, rstd, dw_parts, db_parts, locks, columns, GROUPS: tl.constexpr, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    grad = tl.load(dy + row * columns + at, mask=inside, other=0.0)
    scale = tl.load(rstd + row)
    normed = (tl.load(x + row * columns + at, mask=inside, other=0.0) - tl.load(mean + row)) * scale
    normed = tl.where(inside, normed, 0.0)
    inner = grad * tl.load(weight + at, mask=inside, other=0.0)
    along = tl.sum(inner * normed, 0) / columns
    flat = tl.sum(inner, 0) / columns
    tl.store(dx + row * columns + at, (inner - flat - normed * along) * scale, mask=inside)

    dw = grad * normed
    db = grad
    group = row % GROUPS
    lock = locks + group
    used = locks + GROUPS + group
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    if tl.load(used) == 0:
        tl.atomic_xchg(used, 1)
    else:
        dw += tl.load(dw_parts + group * columns + at, mask=inside, other=0.0)
        db += tl.load(db_parts + group * columns + at, mask=inside, other=0.0)
    tl.store(dw_parts + group * columns + at, dw, mask=inside)
    tl.store(db_parts + group * columns + at, db, mask=inside)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


@triton.jit
def backward_columns(dw_parts, db_parts, dw, db, groups, columns, ROWS: tl.constexpr, COLS: tl.constexpr):
    at = tl.program_id(0) * COLS + tl.arange(0, COLS)
    dw_total = tl.zeros((ROWS, COLS), tl.float32)
    db_total = tl.zeros((ROWS, COLS), tl.float32)
    for start in range(0, groups, ROWS):
        group = start + tl.arange(0, ROWS)
        inside = (group[:, None] < groups) & (at[None, :] < columns)
        place = group[:, None] * columns + at[None, :]
        dw_total += tl.load(dw_parts + place, mask=inside, other=0.0)
        db_total += tl.load(db_parts + place, mask=inside, other=0.0)
    tl.store(dw + at, tl.sum(dw_total, 0), mask=at < columns)
    tl.store(db + at, tl.sum(db_total, 0), mask=at < columns)


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(500))  # small: nn.Parameter(torch.randn(50))

    def forward(self, x, dy):
        rows, columns = x.shape
        variance, mean = torch.var_mean(x, 1, correction=0)
        dx = torch.empty_like(x)
        dw_parts, db_parts = torch.empty(2, 32, columns, device=x.device).unbind()
        locks = torch.zeros(64, dtype=torch.int32, device=x.device)
        dw, db = torch.empty(2, columns, device=x.device).unbind()
        backward_rows[(rows,)](
            dx,
            x,
            dy,
            self.weight,
            mean,
            torch.rsqrt(variance + 1e-5),
            dw_parts,
            db_parts,
            locks,
            columns,
            GROUPS=32,
            BLOCK=triton.next_power_of_2(columns),
            num_warps=4,
        )
        backward_columns[lambda meta: (triton.cdiv(columns, meta["COLS"]),)](
            dw_parts, db_parts, dw, db, min(32, rows), columns, ROWS=32, COLS=64
        )
        return dx, dw, db
