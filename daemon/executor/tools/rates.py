"""What a time makes of the work of one call: rates, and the share of the device that was. Pure.

The work is what ncu counted or, where it counted nothing, what the contract declares. Both are the bundle's own word:
they label a time, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from daemon import contract
from daemon.evaluation import Timing
from daemon.executor.tools import roofline
from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.roofline import Work

COUNTED, DECLARED = "counted", "declared"


def declared(work: contract.Work | None) -> Work | None:
    """The declared work, with its symbols bound. None where it is nothing, so that there is nothing to rate."""
    if work is None:
        return None
    operations = {work.unit.value: float(work.flops)} if work.flops else {}
    moved = float(work.bytes) if work.bytes else None
    return Work(moved, operations) if moved or operations else None


class Rater:
    """Puts rates beside times. `ceilings` is asked only where declared work has to be compared; `notes`: why a share is
    not known, or leaves something out, each once."""

    def __init__(self, work: Work | None, ceilings: Callable[[], Ceilings | None]) -> None:
        self._work = work
        self._ceilings = ceilings
        self.notes: list[str] = []

    def rated(self, timing: Timing, counted: Mapping[str, Any]) -> Timing:
        """`timing` with its rates and its share. `counted`: the section `roofline_metrics`, empty where there is
        none."""
        if counted.get("dram_bytes") or counted.get("floating_point_operations"):
            return with_rates(timing, counted, COUNTED)
        if self._work is None:
            return timing
        top = self._ceilings()
        section = roofline.metrics(self._work, top, timing.stats.mean / 1e3)
        if top is None:
            self._note("work: what this device can do at most could not be measured, so no share of it is known")
        for kind in section.get("without_ceiling", ()):
            self._note(f"work: there is no measured rate of {kind} on this device, its flops are left out of the share")
        return with_rates(timing, section, DECLARED)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def with_rates(timing: Timing, section: Mapping[str, Any], source: str) -> Timing:
    """`timing` with what `section` (of `roofline.metrics`) says of it; labelled where it is less than possible."""
    is_below = roofline.is_below_floor(section, timing.stats.mean / 1e3)
    share = section.get("speed_of_light_pct") or None
    return timing.model_copy(
        update={
            "work_source": source,
            "gb_per_s": section.get("achieved_gb_per_s") or None,
            "tflop_per_s": section.get("achieved_tflop_per_s") or None,
            "speed_of_light_pct": share,
            "limiting_side": section.get("limiting_side") if share else None,
            "labels": (*timing.labels, roofline.BELOW_FLOOR) if is_below else timing.labels,
        }
    )
