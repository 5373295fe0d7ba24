"""What kernels often want of torch, loaded into a cell before it has one: in cells that stand ready, as long as there
is nothing else to do.

Whatever of torch's kernels a process uses for the first time has to be unpacked and loaded. That takes 10 to 40 ms for
each kind on an H200, and 60 to 170 for matrix products of one dtype. A cell lives for one evaluation, so a bundle pays
for that twice, unless it was done while the daemon was idle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

_EDGE = 64
_ROOMY_BYTES = 20 << 30  # memory of a device with room: cuBLAS holds 66 MiB in every process that has used it

_USES: tuple[Callable[[Any], object], ...] = (
    lambda x: x.relu(),
    lambda x: x * 2 + x,
    lambda x: x.sum(),
    lambda x: x.softmax(-1),
    lambda x: x.exp(),
    lambda x: F.layer_norm(x, (_EDGE,)),
    lambda x: x.mean(-1),
    F.gelu,
    F.silu,
    lambda x: x.sigmoid() - x.tanh(),
    lambda x: x.double() / (x + 3),
    lambda x: x.pow(2).rsqrt(),
    lambda x: torch.where(x > 0, x, -x),
    lambda x: x.max(),
    lambda x: x.sqrt(),
    lambda x: torch.cat([x, x]),
    lambda x: x.cumsum(0),
    lambda x: F.embedding(torch.zeros(3, dtype=torch.long, device=x.device), x),
)
_PRODUCTS: tuple[Callable[[Any], object], ...] = (
    lambda x: F.linear(x, x, x[0]),
    lambda x: F.linear(x.bfloat16(), x.bfloat16(), x[0].bfloat16()),
    lambda x: F.linear(x.half(), x.half(), x[0].half()),
)


def steps(device: str) -> Iterator[None]:
    """Load one kind after the other, a step each. Draws no random numbers, and holds no memory of torch's when it is
    through."""
    x = torch.ones(_EDGE, _EDGE, device=device)
    for use in (*_USES, *(_PRODUCTS if _is_roomy(device) else ())):
        use(x)
        if device != "cpu":
            torch.cuda.synchronize()
        yield
    del x
    if device != "cpu":
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()


def _is_roomy(device: str) -> bool:
    return device == "cpu" or torch.cuda.get_device_properties(device).total_memory >= _ROOMY_BYTES
