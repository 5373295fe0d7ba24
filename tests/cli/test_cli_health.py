"""evald health: 0 where bundles are judged, 1 with the reason where they are not, 2 where nobody can tell."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from cli_homes import PastHome
from conftest import Evald
from sqlalchemy import update

from daemon import mounts
from daemon.cli.health import troubles
from daemon.db.daemon_records import DaemonNote
from daemon.db.history import History
from daemon.db.models import Daemon
from daemon.engine import DeviceState
from daemon.intake.owner import Owner
from daemon.mounts import Mount

CPU = DeviceState(0, "cpu", "cpu", None)


def note(host: str, number: int, *devices: DeviceState, lease_s: float = 60) -> DaemonNote:
    return DaemonNote(f"{host}-boot-{number}", host, number, "0", 1, "/srv/inbox", lease_s, devices or (CPU,))


def test_where_nobody_judges_the_exit_code_is_one_and_the_line_says_what_to_type(evald: Evald, past: PastHome) -> None:
    ran = evald("health")
    assert ran.code == 1
    assert "systemctl start evald" in ran.out


def test_a_daemon_that_runs_is_health(evald: Evald, past: PastHome) -> None:
    past.daemons.report(note("gpu1", 1))
    ran = evald("health")
    assert (ran.code, ran.out.strip()) == (0, "healthy: 1 daemon, 1 slot")
    assert evald("health", "--json").document() == {"healthy": True, "problems": []}
    assert evald("health", "--host", "gpu1").code == 0
    other = evald("health", "--host", "elsewhere")
    assert other.code == 1
    assert "no daemon of a host 'elsewhere' is known; there are gpu1" in other.out
    past.daemons.mark_stopped("gpu1-boot-1")
    assert evald("health").code == 1


def test_a_lost_device_and_a_pause_are_told(evald: Evald, past: PastHome) -> None:
    past.daemons.report(note("gpu1", 1, DeviceState(0, "cuda", "H200", "GPU-1", "Xid 79")))
    ran = evald("health")
    assert ran.code == 1
    assert "gpu1: device 0 (H200) is drained: Xid 79" in ran.out
    past.daemons.report(note("gpu1", 1))
    assert evald("health").code == 0
    (past.settings.paths.inbox.parent / "pause").write_text("maintenance")
    ran = evald("health", "--json")
    assert ran.code == 1
    assert "maintenance" in ran.document()["problems"][0]


def test_a_daemon_of_this_host_that_lacks_room_or_its_inbox_is_told_and_one_of_another_host_is_not(
    evald: Evald, past: PastHome
) -> None:
    inbox = past.settings.paths.inbox
    past.daemons.report(replace(note("elsewhere", 1), inbox=str(inbox)))
    assert evald("health", "--set", f"min_free_bytes={1 << 60}").code == 0
    past.daemons.report(replace(note(Owner.current().host, 1), inbox=str(inbox)))
    assert evald("health").code == 0
    ran = evald("health", "--set", f"min_free_bytes={1 << 60}")
    assert ran.code == 1
    assert "no new bundle is claimed" in ran.out
    assert "are wanted" in ran.out
    assert "are wanted" in evald("status", "--set", f"min_free_bytes={1 << 60}").out
    past.settings.paths.work.rmdir()
    assert f"{past.settings.paths.work} was removed: stop the daemon and start it again" in evald("health").out
    inbox.rmdir()
    assert f"{inbox}: No such file or directory" in evald("health").out
    assert evald("status", "--json").document()["hindrance"] == f"{inbox}: No such file or directory"


def test_a_daemon_that_died_is_missed_until_another_takes_its_place(past: PastHome) -> None:
    past.daemons.report(note("gpu1", 1, lease_s=1e-9))
    past.daemons.report(note("gpu2", 1))
    [told] = troubles(History(past.database).daemons())
    assert told.startswith("gpu1: no sign of life of process 1")
    past.daemons.report(note("gpu1", 2))
    assert list(troubles(History(past.database).daemons())) == []


def test_a_drained_host_is_no_fault_as_long_as_another_judges(past: PastHome) -> None:
    past.daemons.report(note("gpu1", 1))
    past.daemons.report(note("gpu2", 1))
    past.daemons.drain("gpu2")
    assert list(troubles(History(past.database).daemons())) == []
    past.daemons.drain("gpu1")
    told = list(troubles(History(past.database).daemons()))
    assert told == [
        "nobody judges: gpu1 is drained, to end it type evald drain gpu1 --undo",
        "nobody judges: gpu2 is drained, to end it type evald drain gpu2 --undo",
    ]


def test_a_drained_host_that_is_asked_about_is_no_fault(evald: Evald, past: PastHome) -> None:
    past.daemons.report(note("gpu1", 1))
    past.daemons.drain("gpu1")
    assert evald("health").code == 1
    ran = evald("health", "--host", "gpu1")
    assert (ran.code, "evald drain gpu1 --undo" in ran.out) == (0, True)
    past.daemons.mark_stopped("gpu1-boot-1")
    assert evald("health", "--host", "gpu1").code == 0
    past.daemons.undo_drain("gpu1")
    assert evald("health", "--host", "gpu1").code == 1


def test_a_database_that_does_not_answer_is_exit_code_two(evald: Evald) -> None:
    ran = evald("health", "--database", "postgresql://nobody@127.0.0.1:1/none")
    assert ran.code == 2
    assert "is not available" in ran.err


def test_a_host_that_only_sweeps_can_be_drained_from_elsewhere(evald: Evald, past: PastHome) -> None:
    past.leased("mine")
    assert evald("drain", "host").code == 0
    assert evald("drain", "hist").code == 2


def test_a_daemon_whose_host_never_comes_back_is_forgotten_by_the_cleanup(evald: Evald, past: PastHome) -> None:
    for host in ("gone", "lately", "here"):
        past.daemons.report(note(host, 1, lease_s=60 if host == "here" else 1e-9))
    seen_at = datetime.now(UTC) - timedelta(days=2)
    with past.database.write() as connection:
        connection.execute(update(Daemon).where(Daemon.host != "lately").values(seen_at=seen_at))
    assert evald("cleanup", "--dry-run").code == 0
    assert len(History(past.database).daemons()) == 3
    past.daemons.report(note("here", 1))
    assert evald("cleanup").code == 0
    assert {daemon.host for daemon in History(past.database).daemons()} == {"lately", "here"}


def test_an_inbox_that_is_a_mount_of_its_own_or_read_only_is_told(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = past.settings.paths
    past.daemons.report(replace(note(Owner.current().host, 1), inbox=str(paths.inbox)))
    assert evald("health").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(mounts, "mount_of", lambda folder: Mount(str(folder) if folder == paths.inbox else "/", "ext4"))
        assert f"{paths.work}, {paths.archive}" in evald("health").out
        assert "on another mount than the inbox" in evald("status").out
        spool = next(one for one in evald("doctor", "--json").document()["checks"] if one["name"] == "spool")
        assert spool["status"] == "FAIL"
        assert spool["hint"].startswith(f"mount all of {paths.inbox.parent}")
    true_statvfs = os.statvfs
    read_only = SimpleNamespace(
        **{name: getattr(true_statvfs("/"), name) for name in _STATVFS} | {"f_flag": os.ST_RDONLY}
    )
    monkeypatch.setattr(os, "statvfs", lambda place: read_only if place == paths.inbox else true_statvfs(place))
    assert f"{paths.inbox} is mounted read-only" in evald("health").out


_STATVFS = [name for name in dir(os.statvfs_result) if name.startswith("f_")]
