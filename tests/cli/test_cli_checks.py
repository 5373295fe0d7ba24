"""What `evald doctor` says of a deployment that several users and hosts share."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import Evald

import daemon
from daemon import access, belonging, mounts
from daemon.cli import checks, commands_to_type, device_checks, installed
from daemon.cli.check import Check, Status
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote
from daemon.db.records import NewJob
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.engine import DeviceState
from daemon.executor import baseline
from daemon.executor.baseline import Baseline, Drift, Identity
from daemon.executor.control import Figures
from daemon.executor.host.devices import CPU
from daemon.intake.names import make_job_id
from daemon.intake.owner import Owner


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(home=tmp_path / "home")
    settings.paths.create()
    return settings


def found(lines: list[Check], name: str) -> Check | None:
    return next((line for line in lines if line.name == name), None)


@pytest.mark.parametrize(
    ("hint", "shown"),
    [
        ("evald doctor", None),
        ("evald doctor checks the database", None),
        ("evald doctor; or --device cpu", "--device cpu"),
        ("evald doctor looks through it: then start again", "evald doctor looks through it: then start again"),
        ("df -h", "df -h"),
    ],
)
def test_who_asks_the_doctor_is_not_sent_to_the_doctor(
    hint: str, shown: str | None, monkeypatch: pytest.MonkeyPatch, evald: Evald
) -> None:
    """Errors that know nothing better name it, and it showed them as they are."""
    monkeypatch.setattr(checks, "all_checks", lambda _: [Check("sandbox", Status.FAIL, "a cell did not start", hint)])
    (line,) = evald("doctor", "--json").document()["checks"]
    assert (line["hint"] and line["hint"].replace(commands_to_type.program(), "evald")) == shown


def test_a_shared_inbox_whose_bundles_everybody_can_read_is_pointed_out(settings: Settings) -> None:
    assert found(list(checks._privacy(settings)), "waiting bundles") is None
    settings.paths.inbox.chmod(0o1777)
    warned = found(list(checks._privacy(settings)), "waiting bundles")
    assert warned is not None and warned.status is Status.WARN
    assert warned.hint is not None and warned.hint.startswith("setfacl -d -m ")
    packed = access._packed([(tag, rights, 0xFFFFFFFF) for tag, rights in ((0x01, 7), (0x04, 0), (0x20, 0))])
    try:
        os.setxattr(settings.paths.inbox, "system.posix_acl_default", packed)
    except OSError:
        pytest.skip("no access control lists here")
    closed = found(list(checks._privacy(settings)), "waiting bundles")
    assert closed is not None and closed.status is Status.OK


@pytest.mark.parametrize(
    ("changes", "status", "words", "typed"),
    [
        ({}, Status.OK, "GiB free at ", None),
        ({"f_bavail": 1}, Status.FAIL, "are wanted", "evald cleanup"),
        ({"f_bavail": 300_000}, Status.WARN, "free at", "evald cleanup"),
        ({"f_favail": 3}, Status.FAIL, "has room for 3 more files", "evald cleanup"),
        ({"f_flag": os.ST_RDONLY}, Status.FAIL, "is read-only", "findmnt -T "),
    ],
    ids=["room", "no bytes", "few bytes", "no files", "read-only"],
)
def test_a_disk_that_a_daemon_would_not_use_is_a_failure(
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, int],
    status: Status,
    words: str,
    typed: str | None | None,
) -> None:
    disk = {"f_bavail": 10**8, "f_frsize": 4096, "f_files": 10**6, "f_favail": 10**5, "f_flag": 0} | changes
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**disk))
    told = found(list(checks._free_space(settings)), "space for state")
    assert told is not None and told.status is status
    assert words in told.message
    assert told.hint is None if typed is None else typed in (told.hint or "")


def test_a_home_that_is_not_there_yet_has_nothing_to_be_cleaned_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = {"f_bavail": 1, "f_frsize": 4096, "f_files": 10**6, "f_favail": 10**5, "f_flag": 0}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**disk))
    told = found(list(checks._free_space(Settings(home=tmp_path / "later"))), "space for state")
    assert told is not None and told.status is Status.FAIL
    assert f"df -h {tmp_path}" in (told.hint or "") and "cleanup" not in (told.hint or "")


def test_results_for_one_reader_need_a_file_system_that_can(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = settings.model_copy(update={"results_for": "submitter"})
    told = found(list(checks._privacy(private)), "results")
    assert told is not None and told.status in (Status.OK, Status.WARN)

    def refused(path: Path, uid: int | None) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(access, "share_with", refused)
    warned = found(list(checks._privacy(private)), "results")
    assert warned is not None and warned.status is Status.WARN
    assert "group" in warned.message
    assert list(settings.paths.results.glob("*doctor*")) == []


def test_a_pause_file_is_pointed_out_with_the_line_that_ends_it(settings: Settings) -> None:
    assert list(checks._pause(settings)) == []
    settings.paths.pause.touch()
    [warned] = checks._pause(settings)
    assert warned.hint == f"rm {settings.paths.pause}"


def test_a_device_whose_speed_changed_is_pointed_out_until_its_baseline_is_removed(settings: Settings) -> None:
    assert list(device_checks._control(settings, CPU)) == []
    at = datetime(2026, 11, 26, 12, tzinfo=UTC)
    same = Baseline(
        identity=Identity(evald="1", torch="2", device_name="cpu", driver=None, workload="w"),
        figures=Figures(median_ms=0.5, interval_ms=(0.49, 0.51), rounds=7),
        at=at,
        last_at=at,
    )
    path = baseline.path_of(CPU, settings.paths)
    baseline.write(path, same)
    [fit] = device_checks._control(settings, CPU)
    assert (fit.status, fit.hint) == (Status.OK, None)
    assert "500 µs" in fit.message
    baseline.write(path, same.model_copy(update={"drift": Drift(at=at, ratio=0.75)}))
    [warned] = device_checks._control(settings, CPU)
    assert warned.status is Status.WARN
    assert "takes 25 % less since 2026-11-26 12:00 UTC" in warned.message
    assert warned.hint == f"once you know why: rm {path}"
    assert list(device_checks._control(settings.model_copy(update={"control_interval_s": 0}), CPU)) == []


def test_a_soft_mount_is_pointed_out(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    soft = mounts.Mount("/srv/evald", "nfs4", frozenset({"rw", "soft", "vers=4.2"}))
    monkeypatch.setattr(mounts, "mount_of", lambda _path: soft)
    warned = checks._inbox_watching(settings)
    assert warned.status is Status.WARN
    assert warned.hint == "mount /srv/evald with the option hard"
    hard = mounts.Mount("/srv/evald", "nfs4", frozenset({"rw", "hard"}))
    monkeypatch.setattr(mounts, "mount_of", lambda _path: hard)
    assert checks._inbox_watching(settings).status is Status.OK


def test_a_database_that_is_lost_is_no_fresh_start(settings: Settings) -> None:
    fresh = checks._database(settings)
    assert (fresh.status, "evald run makes it" in fresh.message) == (Status.OK, True)
    (settings.paths.results / "2026-11" / "a job").mkdir(parents=True)
    lost = checks._database(settings)
    assert (lost.status, "although there are results" in lost.message) == (Status.WARN, True)


def test_whose_folders_they_are_is_not_changed_by_a_hint(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_is_refused", lambda _: True)
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    hint = checks._home(settings).hint
    assert hint is not None
    assert hint.startswith("run this as whom it belongs to: sudo -u ")


def test_the_doctor_warns_of_a_program_that_crashes_would_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pattern, limits = tmp_path / "core_pattern", [(0, 0)]
    monkeypatch.setattr(checks.resource, "getrlimit", lambda _: limits[0])
    assert list(checks._core_dumps(pattern)) == []
    pattern.write_text("core\n")
    assert list(checks._core_dumps(pattern)) == []
    pattern.write_text("|/usr/lib/systemd/systemd-coredump %P\n")
    [warned] = checks._core_dumps(pattern)
    assert warned.status is Status.WARN and "LimitCORE=1" in str(warned.hint)
    limits[0] = (0, 1)
    assert list(checks._core_dumps(pattern)) == []


@pytest.mark.parametrize(("uid", "switch", "warns"), [(0, "0\n", True), (0, "1\n", False), (1000, "0\n", False)])
def test_hard_links_to_what_a_sender_may_not_read_are_warned_of_where_root_would_read_them(
    uid: int, switch: str, warns: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks.os, "geteuid", lambda: uid)
    (tmp_path / "switch").write_text(switch, "ascii")
    found = list(checks._hard_links(tmp_path, tmp_path / "switch"))
    assert [check.status for check in found] == [Status.WARN] * warns


def test_the_doctor_finds_another_owner_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert installed._package_owner().status is Status.OK
    metadata = tmp_path / "python_daemon-3.1.2.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: python-daemon\nVersion: 3.1.2\n")
    (metadata / "RECORD").write_text("daemon/__init__.py,,\ndaemon/daemon.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    found = installed._package_owner()
    assert found.status is Status.FAIL
    assert "python-daemon" in found.message
    assert found.hint is not None
    assert "pip uninstall python-daemon" in found.hint


def test_the_doctor_finds_that_judges_would_run_another_evald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy = tmp_path / "copy" / "daemon"
    (copy / "cli").mkdir(parents=True)
    (copy / "cli" / "root.py").touch()
    monkeypatch.setattr(daemon, "__file__", str(copy / "__init__.py"))
    found = installed._package_owner()
    assert found.status is Status.FAIL
    assert str(copy) in found.message and "PYTHONPATH" in found.message
    assert found.hint is not None and f"pip install -e {tmp_path / 'copy'}" in found.hint


def test_the_doctor_looks_where_the_metrics_file_would_go(tmp_path: Path) -> None:
    file = tmp_path / "not here" / "evald.prom"
    settings = Settings(home=tmp_path, metrics_file=file)
    assert list(checks._metrics_file(Settings(home=tmp_path))) == []
    [warned] = checks._metrics_file(settings)
    assert warned.status is Status.WARN and warned.hint == f"mkdir -p '{file.parent}'"
    file.parent.mkdir()
    [fine] = checks._metrics_file(settings)
    assert fine.status is Status.OK


def test_the_doctor_reads_the_kernel_types_without_which_no_daemon_starts(tmp_path: Path) -> None:
    assert list(checks._kernel_types(Settings())) == []
    settings = Settings(backend_paths=(tmp_path / "types",))
    [missing] = checks._kernel_types(settings)
    assert (missing.status, missing.hint) == (Status.FAIL, "check the setting backend_paths")
    (tmp_path / "types").mkdir()
    (tmp_path / "types" / "mine.py").write_text("SPEC = {'devices': ('tpu',)}\n", "utf-8")
    [wrong] = checks._kernel_types(settings)
    assert wrong.status is Status.FAIL and "mine.py: SPEC is wrong" in wrong.message
    (tmp_path / "types" / "mine.py").write_text("SPEC = {}\n", "utf-8")
    [fine] = checks._kernel_types(settings)
    assert fine.status is Status.OK and "mine" in fine.message


def test_the_doctor_tells_of_an_inbox_that_is_not_mounted(settings: Settings) -> None:
    assert list(checks._bundles(settings)) == []
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    Repository(database).register(NewJob(make_job_id(), "a", "a@b", 1000, datetime.now(UTC), 10))
    database.close()
    assert list(checks._bundles(settings)) == [], "no daemon has been here"
    belonging.remember(settings.paths)
    settings.paths.work.rmdir()
    [missing] = checks._bundles(settings)
    assert missing.status is Status.FAIL and "may not be mounted" in missing.message
    assert missing.hint is not None and f"> {settings.paths.database_id}" in missing.hint


def test_daemons_that_share_a_device_of_this_host_are_warned_of(settings: Settings) -> None:
    assert list(checks._neighbours(settings)) == []
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    daemons, here = DaemonRepository(database), Owner.current()
    cpu, gpu = DeviceState(0, "cpu", "cpu", None), DeviceState(0, "cuda", "H200", "GPU-1", None)

    def there(host: str, pid: int, device: DeviceState) -> None:
        tag = Owner(host, here.boot_id, pid).tag
        daemons.report(DaemonNote(tag, host, pid, "0", 1, "/srv/inbox", 60, (device,)))

    there(here.host, os.getpid(), cpu)
    there("elsewhere", 1, cpu)
    there(here.host, os.getppid(), gpu)
    assert list(checks._neighbours(settings)) == []
    there(here.host, 1, cpu)
    [warned] = checks._neighbours(settings)
    database.close()
    assert warned.status is Status.WARN
    assert "2 daemons of this host judge on cpu at once" in warned.message
    assert "slots" in str(warned.hint)
