"""What daemons tell about themselves, and drained hosts, on SQLite and Postgres."""

from __future__ import annotations

import dataclasses

from sqlalchemy import text, update

from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote, DaemonState
from daemon.db.history import History
from daemon.db.models import Daemon
from daemon.db.repository_daemons import DaemonRepository
from daemon.engine import DeviceState

NOTE = DaemonNote("here-boot-1", "here", 1, "0.1.0", slots=2, inbox="/srv/inbox", lease_s=60)
OTHER = dataclasses.replace(NOTE, owner="there-boot-1", host="there")


def test_a_daemon_is_one_row_that_keeps_its_start_and_renews_when_it_was_seen(
    daemons: DaemonRepository, history: History
) -> None:
    daemons.report(NOTE)
    (first,) = history.daemons()
    daemons.report(dataclasses.replace(NOTE, slots=3))
    (second,) = history.daemons()
    assert (second.started_at, second.slots, second.state) == (first.started_at, 3, DaemonState.RUNNING)
    assert second.seen_at >= first.seen_at
    assert not second.is_missing
    assert not second.is_drained


def test_a_daemon_tells_its_devices_anew_each_time(daemons: DaemonRepository, history: History) -> None:
    fit = DeviceState(0, "cuda", "NVIDIA H200", "GPU-1")
    sick = dataclasses.replace(fit, slot=1, uuid="GPU-2", reason="fell off the bus\0")
    daemons.report(dataclasses.replace(NOTE, devices=(fit,)))
    daemons.report(dataclasses.replace(NOTE, devices=(fit, sick)))
    daemons.report(OTHER)
    here, there = history.daemons()
    assert here.devices == (fit, dataclasses.replace(sick, reason="fell off the bus\\x00"))
    assert there.devices == ()


def test_what_a_later_version_tells_of_its_devices_does_not_stop_this_one(
    daemons: DaemonRepository, history: History, database: Database
) -> None:
    daemons.report(NOTE)
    with database.write() as connection:
        told = [{"slot": 0, "kind": "cpu", "name": "x", "uuid": None, "colour": "blue"}]
        connection.execute(update(Daemon).values(devices=told))
    (daemon,) = history.daemons()
    assert daemon.devices == (DeviceState(0, "cpu", "x", None),)


def test_a_silent_daemon_is_missing_and_a_stopped_one_is_not(
    daemons: DaemonRepository, history: History, database: Database
) -> None:
    for note in (NOTE, OTHER):
        daemons.report(note)
    daemons.mark_stopped(OTHER.owner)
    with database.write() as connection:
        connection.execute(text("UPDATE daemon SET lease_s = -1"))
    here, there = history.daemons()
    assert (here.host, here.is_missing, here.state) == ("here", True, DaemonState.RUNNING)
    assert (there.host, there.is_missing, there.state) == ("there", False, DaemonState.STOPPED)


def test_a_drain_holds_for_every_daemon_of_the_host_until_it_is_undone(
    daemons: DaemonRepository, history: History
) -> None:
    daemons.report(NOTE)
    assert [daemons.drain("here"), daemons.drain("here")] == [True, False]
    assert list(history.drained_hosts()) == ["here"]
    assert (history.daemons()[0].is_drained, history.daemons()[0].state) == (True, DaemonState.RUNNING)
    assert daemons.report(NOTE)
    assert daemons.report(dataclasses.replace(NOTE, owner="here-boot-2"))
    assert not daemons.report(OTHER)
    assert [daemon.state for daemon in history.daemons()] == [DaemonState.DRAINING] * 2 + [DaemonState.RUNNING]
    assert [daemons.undo_drain("here"), daemons.undo_drain("here")] == [True, False]
    assert not daemons.report(NOTE)
    assert history.drained_hosts() == {}


def test_daemons_are_forgotten_by_name(daemons: DaemonRepository, history: History) -> None:
    for note in (NOTE, OTHER):
        daemons.report(note)
    assert daemons.forget([]) == 0
    assert daemons.forget([NOTE.owner, "nobody"]) == 1
    assert [daemon.owner for daemon in history.daemons()] == [OTHER.owner]
