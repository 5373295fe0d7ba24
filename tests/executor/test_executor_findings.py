"""What a round shows is told with whose fault it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.executor.cases.findings import Inspector
from daemon.executor.cells.endings import CellFailed
from daemon.verdict import Phase, Side, Verdict


def place(side: Side, damage: str | None = None) -> Any:
    """A side that has no answers, and where this was damaged."""
    attached = SimpleNamespace(damage=lambda: damage)
    return SimpleNamespace(
        cell=SimpleNamespace(side=side),
        attached=attached,
        answer_fields=list,
        wiring=SimpleNamespace(names=[]),
    )


@pytest.mark.parametrize("whose", [Side.CANDIDATE, Side.REFERENCE])
def test_what_either_side_damages_is_its_own_fault(whose: Side) -> None:
    sides = {side: place(side, "a guard was overwritten" if side is whose else None) for side in Side}
    inspector = Inspector(sides[Side.CANDIDATE], sides[Side.REFERENCE], [])
    with pytest.raises(CellFailed) as caught:
        inspector.inspect([0], Phase.MEASURE)
    failure = caught.value.failure
    assert (caught.value.verdict, failure.side, failure.phase) == (Verdict.WRONG_ANSWER, whose, Phase.MEASURE)
    assert "a guard was overwritten" in str(failure.message)


def test_a_kernel_without_a_reference_damages_nothing_either() -> None:
    Inspector(place(Side.CANDIDATE), None, []).inspect([0], Phase.CHECK)
    with pytest.raises(CellFailed, match="guard"):
        Inspector(place(Side.CANDIDATE, "a guard was overwritten"), None, []).inspect([0], Phase.CHECK)


@pytest.mark.parametrize(
    ("untouched", "poisoned", "is_wrong"), [(100, True, True), (4, True, True), (0, True, False), (100, False, False)]
)
def test_where_nothing_is_compared_every_element_must_have_been_written(
    untouched: int, poisoned: bool, is_wrong: bool
) -> None:
    out = SimpleNamespace(name="out", poisoned=poisoned, tensor=SimpleNamespace(count=100, size_bytes=400))
    alone = place(Side.CANDIDATE)
    alone.answer_fields = lambda: [out]
    alone.attached.unwritten = lambda _order, _field: untouched
    inspector = Inspector(alone, None, [], on_outputs="; so it was")
    if not is_wrong:
        inspector.inspect([0, 1], Phase.CHECK)
        return
    with pytest.raises(CellFailed, match=f"^out: {untouched} of 200 elements were never written; so it was$"):
        inspector.inspect([0, 1], Phase.CHECK)
