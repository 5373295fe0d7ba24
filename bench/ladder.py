"""A ladder of kernels from about 1 us to 10 ms on a large GPU: what `accuracy.py` times four ways.

The functions are the entry points of bundles. Run as a program, this file calls one of them for ncu, and between two
calls a kernel that only waits, so that they can be told apart:

    ncu … python bench/ladder.py RUNG
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

CALLS_FOR_NCU = 10


def add(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor) -> None:
    torch.add(x, y, out=out)


def row_sum(x: torch.Tensor, out: torch.Tensor) -> None:
    torch.sum(x, dim=1, out=out)


def softmax(x: torch.Tensor, out: torch.Tensor) -> None:
    torch.softmax(x, dim=1, out=out)


def matmul(x: torch.Tensor, y: torch.Tensor, out: torch.Tensor) -> None:
    torch.matmul(x, y, out=out)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, out: torch.Tensor) -> None:
    out.copy_(torch.nn.functional.scaled_dot_product_attention(q, k, v))


@dataclass(frozen=True)
class Rung:
    """One kernel at one size. `inputs` and `output`: shapes."""

    name: str
    function: Callable[..., None]
    inputs: tuple[tuple[int, ...], ...]
    output: tuple[int, ...]
    dtype: str = "float32"

    def contract(self) -> dict[str, Any]:
        """An evaluate contract: nothing is compared, the outputs are only required to be written."""
        args = [
            {"name": f"x{number}", "type": "tensor", "tensor_spec": self._spec(shape, init={"kind": "randn"})}
            for number, shape in enumerate(self.inputs)
        ]
        args.append({"name": "out", "type": "tensor", "role": "output", "tensor_spec": self._spec(self.output)})
        return {
            "name": self.name,
            "kernel": {
                "source_file": "ladder.py",
                "kernel_type": "multi_kernel",
                "metadata": {"entry_point": self.function.__name__},
                "io": {"args": args},
            },
            "correctness_trials": 1,
            "timeout": 120,
        }

    def _spec(self, shape: tuple[int, ...], **rest: Any) -> dict[str, Any]:
        return {"shape": list(shape), "dtype": self.dtype, **rest}

    def tensors(self, device: str) -> list[torch.Tensor]:
        """Inputs and the output."""
        dtype = getattr(torch, self.dtype)
        drawn = [torch.randn(shape, device=device).to(dtype) for shape in self.inputs]
        return [*drawn, torch.empty(self.output, device=device, dtype=dtype)]


def _square(name: str, side: int) -> Rung:
    return Rung(name, matmul, ((side, side), (side, side)), (side, side), "bfloat16")


def _vector(name: str, count: int) -> Rung:
    return Rung(name, add, ((count,), (count,)), (count,))


HEADS = (4, 16, 2048, 64)
LADDER = (
    _vector("add-1Ki", 1 << 10),
    _vector("add-64Ki", 1 << 16),
    _vector("add-1Mi", 1 << 20),
    Rung("row-sum-1Ki", row_sum, ((1024, 1024),), (1024,)),
    _square("matmul-512", 512),
    _square("matmul-1024", 1024),
    Rung("softmax-4Ki", softmax, ((4096, 4096),), (4096, 4096)),
    _vector("add-16Mi", 1 << 24),
    _square("matmul-4096", 4096),
    Rung("attention-2Ki", attention, (HEADS,) * 3, HEADS, "bfloat16"),
    _vector("add-256Mi", 1 << 28),
    _square("matmul-16384", 16384),
)
SMALL = (_vector("add-64Ki", 1 << 16), Rung("row-sum-1Ki", row_sum, ((1024, 1024),), (1024,)))


def main(name: str) -> None:
    torch.set_grad_enabled(False)
    [rung] = [rung for rung in LADDER if rung.name == name]
    tensors = rung.tensors("cuda")
    for _ in range(3):
        rung.function(*tensors)
    torch.cuda.synchronize()
    torch.cuda.profiler.start()
    for _ in range(CALLS_FOR_NCU):
        torch.cuda._sleep(1)
        rung.function(*tensors)
    torch.cuda._sleep(1)
    torch.cuda.synchronize()
    torch.cuda.profiler.stop()


if __name__ == "__main__":
    main(sys.argv[1])
