"""How many rounds of one call a candidate is shown: few, unless it looks as if calls did the work of others."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.executor.timing.looks import Looks
from daemon.executor.timing.series import Series

_FAR_OFF_S = 3600.0
FEW, ALL = 3, 43


def rounds_alone(
    *, usual_s: tuple[float, float] = (1.0, 1.0), resolution_s: float = 0.0, looks_odd: bool = False
) -> int:
    """How many it gets that nothing clears. `usual_s`: a call among many, of the candidate and of the reference."""
    alone: list[object] = []

    def account(index: int) -> Any:
        figures = SimpleNamespace(usual_s=usual_s[index], resolution_s=resolution_s)
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


def rounds_on_contents(*, looks_cached: bool) -> list[tuple[str, bool, str]]:
    """What is shown to a kernel whose inputs are secret: the purpose of each round, whether all slots hold one content,
    and the series that it goes to."""
    shown: list[tuple[str, bool, str]] = []

    def one_round(_turn: object, purpose: str, _deadline: float, into: Any, *, equal: bool = False) -> None:
        series = Series()
        (name,) = (name for name, rounds in vars(series).items() if rounds is into(series))
        shown.append((purpose, equal, name))

    looks = Looks(
        places=[SimpleNamespace()],  # type: ignore[list-item]
        series=[],
        turns=SimpleNamespace(whole=lambda: None),  # type: ignore[arg-type]
        calibration=SimpleNamespace(),  # type: ignore[arg-type]
        one_round=one_round,
        account=lambda _: SimpleNamespace(is_cached=looks_cached),  # type: ignore[arg-type,return-value]
        in_pairs=False,
        has_secrets=True,
    )
    looks._equal_contents(2, time.monotonic() + _FAR_OFF_S)
    return shown


def test_who_looks_as_if_contents_were_remembered_is_shown_usual_ones_in_between() -> None:
    equal, unlike = ("equal", True, "equal"), ("unlike", False, "unlike")
    assert rounds_on_contents(looks_cached=False) == [equal]
    assert rounds_on_contents(looks_cached=True) == [equal, unlike, equal, unlike, equal]
