"""A daemon's signs of life, on SQLite and Postgres."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from daemon.db.history import History
from daemon.db.repository_daemons import DaemonRepository
from daemon.engine import DeviceState
from daemon.intake.owner import Owner
from daemon.presence import Presence

FIT = DeviceState(0, "cuda", "NVIDIA H200", "GPU-1")


@pytest.fixture
def devices() -> list[DeviceState]:
    return []


@pytest.fixture
def presence(daemons: DaemonRepository, history: History, devices: list[DeviceState]) -> Presence:
    inbox = Path("/srv/inbox")
    return Presence(daemons, history, Owner.current(), lambda: tuple(devices), inbox=inbox, lease_s=60.0)


def test_a_daemon_is_seen_in_the_middle_of_long_repairs_as_often_as_otherwise(
    presence: Presence, history: History, devices: list[DeviceState]
) -> None:
    presence.remind(0.0)
    assert not history.daemons(), "nothing is told before a daemon has told what it is"
    presence.tell(0.0, lambda: None)
    devices.append(FIT)
    presence.remind(0.0)
    assert history.daemons()[0].devices == (), "it is not time yet"
    presence.remind(float("inf"))
    assert history.daemons()[0].devices == (FIT,)


def test_a_drain_heard_of_then_is_acted_upon_afterwards(presence: Presence, daemons: DaemonRepository) -> None:
    told: list[bool] = []
    presence.tell(0.0, lambda: told.append(presence.takes_jobs))
    daemons.drain(Owner.current().host)
    presence.remind(float("inf"))
    assert told == [True]
    presence.tell(time.monotonic(), lambda: told.append(presence.takes_jobs))
    assert told == [True, False]
