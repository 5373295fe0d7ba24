"""A daemon's signs of life, on SQLite and Postgres."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from daemon import log
from daemon.db.daemon_records import DaemonNote
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


@pytest.mark.parametrize(("other", "warned"), [(FIT, True), (replace(FIT, uuid="GPU-2"), False)])
def test_who_starts_beside_another_on_the_same_device_is_told_once(
    daemons: DaemonRepository, history: History, capsys: pytest.CaptureFixture[str], other: DeviceState, warned: bool
) -> None:
    log.setup("info")
    mine, alive = Owner.current(), replace(Owner.current(), pid=os.getppid())
    first, second = (
        Presence(daemons, history, owner, lambda seen=seen: (seen,), inbox=Path("/srv/inbox"), lease_s=60.0)
        for owner, seen in ((alive, other), (mine, FIT))
    )
    first.tell(0.0, lambda: None)
    assert "another daemon" not in capsys.readouterr().err
    second.tell(0.0, lambda: None)
    said = capsys.readouterr().err
    assert ("another daemon judges here too" in said) == (f"pid={alive.pid}" in said) == warned
    second.tell(float("inf"), lambda: None)
    assert "another daemon" not in capsys.readouterr().err


def test_who_is_there_is_known_and_neither_stopped_nor_missing_whoever_else_is(
    daemons: DaemonRepository, history: History
) -> None:
    for number, (name, lease_s) in enumerate({"alive": 60.0, "stopped": 60.0, "missing": 1e-9}.items()):
        daemons.report(DaemonNote(name, "host", number, "0.1.0", 1, "/srv/inbox", lease_s))
    daemons.mark_stopped("stopped")
    assert [name for name in ("alive", "stopped", "missing", "unknown") if history.is_there(name)] == ["alive"]
