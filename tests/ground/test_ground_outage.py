"""An outage of the storage: when it is tried again, and how often it is told."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from daemon import log, outage
from daemon.log import COMPLAIN_EVERY_S
from daemon.outage import Outage

LOST = OSError("the disk is gone")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the log was told."""
    lines: list[str] = []
    monkeypatch.setattr(log, "story", lambda message, **_: lines.append(message))
    return lines


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock."""
    clock = SimpleNamespace(now_s=1000.0)
    monkeypatch.setattr(outage, "time", SimpleNamespace(monotonic=lambda: clock.now_s))
    return lambda now_s: setattr(clock, "now_s", now_s)


def test_an_outage_is_told_once_a_minute_and_its_end_once(told: list[str], at: Callable[[float], None]) -> None:
    storage = Outage()
    for now_s in (1000.0, 1002.0, 1000.0 + COMPLAIN_EVERY_S - 1):
        at(now_s)
        storage.failed(LOST)
    assert told == ["waiting for storage"]
    at(1000.0 + COMPLAIN_EVERY_S)
    storage.failed(LOST)
    assert told == ["waiting for storage"] * 2
    assert storage.reason == str(LOST)
    storage.over()
    storage.over()
    assert told == ["waiting for storage"] * 2 + ["storage is back"]
    assert storage.reason is None


def test_another_outage_is_told_at_once(told: list[str], at: Callable[[float], None]) -> None:
    storage = Outage()
    storage.failed(LOST)
    storage.over()
    at(1001.0)
    storage.failed(LOST)
    assert told == ["waiting for storage", "storage is back", "waiting for storage"]


def test_storage_that_failed_is_left_alone_for_a_while(told: list[str], at: Callable[[float], None]) -> None:
    storage = Outage()
    at(1000.0)
    storage.failed(LOST)
    assert storage.is_too_early(1000.5)
    assert not storage.is_too_early(1004.0)


def test_storage_that_is_away_at_the_start_is_tried_again_at_once(told: list[str]) -> None:
    storage = Outage()
    storage.begin(LOST)
    assert told == ["waiting for storage"]
    assert not storage.is_too_early(0.0)
