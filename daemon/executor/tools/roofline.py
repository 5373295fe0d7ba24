"""How much of a device a kernel used: counted bytes and operations against what this device was seen to do. Pure.

The roofline model (Williams, Waterman, Patterson 2009): a kernel that moves B bytes and does F operations takes at
least max(B / bandwidth, F / rate). Operations are counted per kind, and kinds may overlap, so the floor is the largest
of all, not their sum. Scalar operations are add + mul + 2 * fma (Yang 2020); those of tensor cores are the hardware's
own count. What is counted comes from the process of the code under test: it labels, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.grouping import combined
from daemon.executor.tools.ncu_report import Launch
from daemon.executor.tools.sections import (
    DRAM_READ,
    DRAM_WRITTEN,
    SCALAR_OPERATIONS,
    TENSOR_PREFIX,
    Combine,
    Figure,
)

BELOW_FLOOR = "below_floor"
_PER_INSTRUCTION = {"add": 1, "mul": 1, "fma": 2}
# A ceiling is what our own kernel reached: a better one may come a little above it.
_FLOOR_TOLERANCE = 0.9


@dataclass(frozen=True)
class Work:
    """What one call does: bytes between the GPU and its memory, and operations by kind (`float32`, `tensor_bf16`).
    None where it was not counted."""

    bytes: float | None
    operations: dict[str, float]

    @property
    def flops(self) -> float:
        return sum(self.operations.values())


def work_of(launches: Sequence[Launch], calls: int) -> Work:
    """The work of one call, from the counters of `calls` calls."""
    parts = [combined(launches, figure, calls) for figure in (DRAM_READ, DRAM_WRITTEN)]
    total = None if None in parts else sum(part for part in parts if part is not None)
    operations: dict[str, float] = {}
    for (dtype, operation), figure in SCALAR_OPERATIONS.items():
        count = combined(launches, figure, calls)
        if count:
            operations[dtype] = operations.get(dtype, 0.0) + count * _PER_INSTRUCTION[operation]
    for metric in sorted({name for launch in launches for name in launch.metrics if name.startswith(TENSOR_PREFIX)}):
        count = combined(launches, Figure(metric, (metric,), Combine.SUM), calls)
        if count:
            kind = "tensor_" + metric.removeprefix(TENSOR_PREFIX).partition("_dst_")[0].partition(".")[0]
            operations[kind] = operations.get(kind, 0.0) + count
    return Work(total, operations)


def floors_s(work: Work, ceilings: Ceilings) -> dict[str, float]:
    """The least time each resource needs for `work`, seconds; without those that were not counted or have no
    ceiling."""
    floors = {}
    if work.bytes is not None and ceilings.bytes_per_s:
        floors["memory"] = work.bytes / ceilings.bytes_per_s
    for kind, count in work.operations.items():
        if rate := ceilings.operations_per_s.get(kind):
            floors[kind] = count / rate
    return floors


def metrics(work: Work, ceilings: Ceilings | None, time_s: float | None) -> dict[str, Any]:
    """The section `roofline_metrics`: `time_s` is what evald measured for a call."""
    found: dict[str, Any] = {"dram_bytes": work.bytes, "floating_point_operations": work.flops}
    found |= {f"{kind}_operations": count for kind, count in work.operations.items()}
    if work.bytes:
        found["operations_per_byte"] = work.flops / work.bytes
    if time_s:
        found["achieved_gb_per_s"] = None if work.bytes is None else work.bytes / time_s / 1e9
        found["achieved_tflop_per_s"] = work.flops / time_s / 1e12
    if ceilings is not None:
        found |= _against(work, ceilings, time_s)
    return {name: value for name, value in found.items() if value is not None}


def _against(work: Work, ceilings: Ceilings, time_s: float | None) -> dict[str, Any]:
    floors = floors_s(work, ceilings)
    found: dict[str, Any] = {"ceiling_gb_per_s": ceilings.bytes_per_s / 1e9}
    found |= {f"ceiling_{kind}_tflop_per_s": rate / 1e12 for kind, rate in ceilings.operations_per_s.items()
              if kind in work.operations}  # fmt: skip
    found["without_ceiling"] = [kind for kind in work.operations if kind not in ceilings.operations_per_s] or None
    if floors:
        side = max(floors, key=lambda name: floors[name])
        found |= {"limiting_side": side, "floor_us": floors[side] * 1e6}
        found["speed_of_light_pct"] = 100 * floors[side] / time_s if time_s else None
    return found


def is_below_floor(section: Mapping[str, Any], time_s: float) -> bool:
    """Whether a call took less time than its counted work needs: the counts are wrong, or the time is."""
    floor_us = section.get("floor_us")
    return isinstance(floor_us, float) and time_s * 1e6 < floor_us * _FLOOR_TOLERANCE
