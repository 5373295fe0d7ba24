"""Null rounds that suit the rounds they are subtracted from. Without a GPU: only the decision is looked at."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from daemon.executor.measure import Measurement
from daemon.executor.round_turns import RoundTurns
from daemon.executor.timings import Round, Series

BASE_S, SLOTS = 5e-4, 100


class Calibrated(Measurement):
    """One place whose kernel takes what its rounds say; what is calibrated anew is written down."""

    def __init__(self, guessed_s: float, *calls_s: float) -> None:
        self._turns = RoundTurns(torch.Generator())
        self._turns.replay = True
        self._rules = SimpleNamespace(in_pairs=True)  # type: ignore[assignment]
        self._places = [SimpleNamespace(wiring=SimpleNamespace(returns=False))]  # type: ignore[list-item]
        self._series = [
            Series(
                rounds=[Round(SLOTS, BASE_S + SLOTS * call_s) for call_s in calls_s],
                null=[(SLOTS // 2, BASE_S), (SLOTS, BASE_S)] * 2,
            )
        ]
        self._nulls = SimpleNamespace(call_s=[guessed_s])  # type: ignore[assignment]
        self.again: list[float] = []

    def _calibrate_one(self, index: int, slots: int) -> None:
        assert self._series[index].null == [], "those that were too long are gone"
        self.again.append(self._nulls.call_s[index])
        self._series[index].null += [(slots // 2, BASE_S), (slots, BASE_S)] * 2


def suited(guessed_s: float, *calls_s: float) -> list[float]:
    measurement = Calibrated(guessed_s, *calls_s)
    measurement._suit_null(0, SLOTS)
    return measurement.again


def test_a_kernel_that_was_slow_before_the_clock_ran_gets_nulls_as_short_as_its_rounds() -> None:
    assert suited(1e-3, 2e-5) == [pytest.approx(2e-5)]


def test_one_that_speeds_up_later_does_too_and_the_fastest_round_counts() -> None:
    assert suited(2e-5, 2e-5, 5e-6, 2e-5) == [pytest.approx(5e-6)]


def test_nulls_get_longer_after_the_first_round_only() -> None:
    assert suited(1e-5, 2e-5) == [pytest.approx(2e-5)]
    assert suited(1e-5, 2e-5, 2e-5) == []


def test_about_as_long_is_good_enough() -> None:
    assert suited(2e-5, 1.9e-5) == []
    assert suited(2e-5, 2.2e-5) == []


def test_it_does_not_go_on_for_ever_where_there_is_nothing_to_time() -> None:
    measurement = Calibrated(1e-5, -1e-6)
    for _ in range(5):
        measurement._suit_null(0, SLOTS)
    assert measurement.again == [0.0]


def test_rounds_that_are_no_graphs_have_nulls_that_do_nothing() -> None:
    measurement = Calibrated(1e-3, 2e-5)
    measurement._turns.replay = False
    measurement._suit_null(0, SLOTS)
    assert measurement.again == []
