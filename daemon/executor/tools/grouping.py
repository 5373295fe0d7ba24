"""From launches to the sections of a result: per kernel, and all kernels of a call together. Pure.

All figures are per call of the bundle's kernel, which may launch several kernels: sums are added up and divided by the
number of calls, rates are weighted by the time that each launch took.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.executor.tools.ncu_report import Launch, Report
from daemon.executor.tools.sections import DETAILED, DURATION, SECTIONS, Combine, Figure

_MAX_KERNELS = 32


def device_metrics(
    report: Report, sections: Sequence[str], calls: int, unavailable: Mapping[str, str]
) -> dict[str, Any]:
    """The sections over all launches, `kernels` with the same per kernel, longest first, and `absent`: figure -> why.

    `unavailable`: metrics that were not asked for, and why.
    """
    launches = report.launches
    by_kernel: dict[str, list[Launch]] = {}
    for launch in launches:
        by_kernel.setdefault(launch.kernel, []).append(launch)
    total_s = math.fsum(_duration_s(launch) for launch in launches)
    ranked = sorted(by_kernel.items(), key=lambda item: -math.fsum(_duration_s(launch) for launch in item[1]))
    each = [section for section in sections if section != DETAILED]
    kernels = [
        {
            "kernel": name,
            "launches_per_call": len(group) / calls,
            "share_of_time_pct": 100 * math.fsum(map(_duration_s, group)) / total_s if total_s else None,
            **_sections(group, each, calls, report.units),
        }
        for name, group in ranked[:_MAX_KERNELS]
    ]
    whole = _sections(launches, sections, calls, report.units)
    absent = dict(_absent(whole, sections, report, unavailable))
    more = {"kernels_left_out": len(ranked) - _MAX_KERNELS} if len(ranked) > _MAX_KERNELS else {}
    return {**whole, "kernels": kernels, "absent": absent, **more}


def _duration_s(launch: Launch) -> float:
    return max(launch.metrics.get(DURATION, 0.0), 0.0)


def _sections(
    launches: Sequence[Launch], sections: Sequence[str], calls: int, units: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for section in sections:
        if section in SECTIONS:
            values = {figure.name: combined(launches, figure, calls) for figure in SECTIONS[section]}
            found[section] = {name: value for name, value in values.items() if value is not None}
    if DETAILED in sections:
        found[DETAILED] = dict(_detailed(launches, calls, units))
    return found


def combined(launches: Sequence[Launch], figure: Figure, calls: int) -> float | None:
    """One figure over `launches`; None where no launch has it, or a part of a sum is missing."""
    for metric in figure.metrics:
        pairs = [(launch.metrics[metric], _duration_s(launch)) for launch in launches if metric in launch.metrics]
        if pairs and (figure.combine is not Combine.SUM or len(pairs) == len(launches)):
            return _combine(pairs, figure.combine, calls) * figure.scale
    return None


def _combine(pairs: list[tuple[float, float]], how: Combine, calls: int) -> float:
    values = [value for value, _ in pairs]
    if how is Combine.SUM:
        return math.fsum(values) / calls
    if how is Combine.MAX:
        return max(values)
    weight = math.fsum(duration for _, duration in pairs)
    if weight <= 0:
        return math.fsum(values) / len(values)
    return math.fsum(value * duration for value, duration in pairs) / weight


def _detailed(launches: Sequence[Launch], calls: int, units: Mapping[str, str]) -> list[tuple[str, float]]:
    """Everything in the table under ncu's own name, with the base unit."""
    found = []
    for name in dict.fromkeys(name for launch in launches for name in launch.metrics):
        # Of a name, ".sum" and ".sum.per_second" only the first is a sum.
        how = Combine.SUM if name.endswith(".sum") else Combine.MAX if name.startswith("launch__") else Combine.MEAN
        value = combined(launches, Figure(name, (name,), how), calls)
        if value is not None:
            unit = base_unit(units.get(name, ""))
            found.append((f"{name} [{unit}]" if unit else name, value))
    return found


def base_unit(unit: str) -> str:
    """`Gbyte/second` as `byte/second`: what values are converted to."""
    above, slash, below = unit.partition("/")
    return _base(above) + slash + _base(below)


def _base(unit: str) -> str:
    for base in ("byte", "second"):
        if unit.endswith(base):
            return base
    return {"ns": "second", "us": "second", "ms": "second", "s": "second"}.get(unit, unit)


def _absent(
    whole: Mapping[str, Mapping[str, float]], sections: Sequence[str], report: Report, unavailable: Mapping[str, str]
) -> list[tuple[str, str]]:
    missing = []
    for section in sections:
        for figure in SECTIONS.get(section, ()):
            if figure.name not in whole[section]:
                reasons = [unavailable[metric] for metric in figure.metrics if metric in unavailable]
                none = "ncu gave it no value" if report.launches else "no launch was recorded"
                missing.append(
                    (f"{section}.{figure.name}", reasons[0] if len(reasons) == len(figure.metrics) else none)
                )
    return missing
