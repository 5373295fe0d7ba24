"""How many rounds of one call a candidate is shown: few, unless it looks as if calls did the work of others."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.executor.timing.looks import Looks

_FAR_OFF_S = 3600.0
FEW, ALL = 3, 43


def rounds_alone(
    *, usual_s: tuple[float, float] = (1.0, 1.0), resolution_s: float = 0.0, looks_odd: bool = False
) -> int:
    """How many it gets that nothing clears. `usual_s`: a call among many, of the candidate and of the reference."""
    alone: list[object] = []

    def account(index: int) -> Any:
        figures = SimpleNamespace(samples_s=[usual_s[index]], resolution_s=resolution_s)
        return SimpleNamespace(**vars(figures), may_be_batched=looks_odd, is_batched=looks_odd, is_cleared=False)

    looks = Looks(
        places=[SimpleNamespace(), SimpleNamespace()],  # type: ignore[list-item]
        series=[],
        turns=SimpleNamespace(replay=False, single=lambda: None),  # type: ignore[arg-type]
        calibration=SimpleNamespace(alone=lambda _: None),  # type: ignore[arg-type]
        one_round=lambda turn, *_, **__: alone.append(turn),
        account=account,
        in_pairs=False,
        has_secrets=False,
    )
    looks._isolated(1, time.monotonic() + _FAR_OFF_S)
    return len(alone)


def test_who_is_about_as_fast_gets_few_and_who_looks_odd_gets_all() -> None:
    assert rounds_alone() == FEW
    assert rounds_alone(looks_odd=True) == ALL


@pytest.mark.parametrize(
    ("usual_s", "rounds"),
    [
        ((0.4, 1.0), ALL),
        ((-0.1, 1.0), ALL),  # below the resolution, and the reference is not
        ((-0.1, 0.2), FEW),  # both are: shown as one figure
        ((0.05, 0.55), FEW),  # it is shown as 0.3
    ],
)
def test_who_is_twice_as_fast_by_the_figures_that_are_shown_is_looked_at_closer(
    usual_s: tuple[float, float], rounds: int
) -> None:
    assert rounds_alone(usual_s=usual_s, resolution_s=0.3) == rounds
