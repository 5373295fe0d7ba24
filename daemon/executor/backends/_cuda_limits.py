"""Whether a launch can work, checked against what the function and the GPU allow before anything is launched."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from daemon.executor.source import KernelFault

Dims = tuple[int, int, int]


@dataclass(frozen=True)
class Launch:
    """A launch as the contract gives it, `shared_bytes` the dynamic part."""

    grid: Dims
    block: Dims
    shared_bytes: int
    cluster: Dims | None = None
    cooperative: bool = False

    @classmethod
    def of(cls, launch: dict[str, Any]) -> Launch:
        """From the contract's launch, defaults filled in."""
        return cls(
            grid=_three(launch.get("grid") or (1,)),
            block=_three(launch.get("block") or (256,)),
            shared_bytes=int(launch.get("shared_mem") or 0),
            cluster=_three(launch["cluster"]) if launch.get("cluster") else None,
            cooperative=bool(launch.get("cooperative")),
        )

    def __str__(self) -> str:
        text = f"grid {self.grid}, block {self.block}, {self.shared_bytes} bytes of dynamic shared memory"
        text += f", cluster {self.cluster}" if self.cluster else ""
        return text + (", cooperative" if self.cooperative else "")


@dataclass(frozen=True)
class Limits:
    """What may not be exceeded: `threads` of a block by the function (its registers decide), the rest by the GPU."""

    threads: int
    registers: int
    block: Dims
    grid: Dims
    static_shared_bytes: int
    shared_bytes: int


def require_possible(kernel: str, launch: Launch, limits: Limits) -> None:
    """Raise `KernelFault` (runtime_error) that names every limit the launch passes."""
    problems = [*_extents("grid", launch.grid, limits.grid), *_extents("block", launch.block, limits.block)]
    threads = math.prod(launch.block)
    if threads > limits.threads:
        problems.append(
            f"a block of {threads} threads, this kernel can have {limits.threads} ({limits.registers} registers a "
            "thread; __launch_bounds__ or --maxrregcount lowers them)"
        )
    shared = launch.shared_bytes + limits.static_shared_bytes
    if shared > limits.shared_bytes:
        problems.append(
            f"{shared} bytes of shared memory ({limits.static_shared_bytes} static, {launch.shared_bytes} dynamic), a "
            f"block can have {limits.shared_bytes}"
        )
    problems += _cluster(launch)
    if problems:
        raise KernelFault("runtime_error", f"{kernel} cannot be launched with {launch}: {'; '.join(problems)}")


def _extents(what: str, given: Dims, most: Dims) -> list[str]:
    return [
        f"{what}.{axis} is {value}, it may be 1 to {limit}"
        for axis, value, limit in zip("xyz", given, most, strict=True)
        if not 1 <= value <= limit
    ]


def _cluster(launch: Launch) -> list[str]:
    if launch.cluster is None:
        return []
    return [
        f"grid.{axis} is {extent}, not a multiple of cluster.{axis}, {blocks}"
        for axis, extent, blocks in zip("xyz", launch.grid, launch.cluster, strict=True)
        if blocks < 1 or extent % blocks
    ]


def _three(extents: Any) -> Dims:
    x, y, z = [*map(int, extents), 1, 1][:3]
    return x, y, z
