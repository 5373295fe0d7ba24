"""The unit files as systemd reads them, and the command that puts them in place."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from daemon.cli import install_service
from daemon.errors import OperatorError
from daemon.health import Health
from daemon.lifecycle import JobState

SERVICES = ("evald.service", "evald-sweep.service", "evald-cleanup.service", "evald-http.service")
UNITS = (*SERVICES, "evald-sweep.timer", "evald-cleanup.timer")
EXPOSURE_LIMIT = "40"  # in tenths
analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def install(prefix: Path, *options: str) -> Path:
    done = CliRunner().invoke(install_service.command, ["--prefix", str(prefix), *options], standalone_mode=False)
    if done.exception is not None:
        raise done.exception
    return prefix / "etc" / "systemd" / "system"


def ask_systemd(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *command], capture_output=True, text=True, check=False)


@analyze
@pytest.mark.parametrize("options", [(), ("--user", "evald"), ("--gpu",)])
def test_systemd_has_nothing_to_say_against_any_unit(tmp_path: Path, options: tuple[str, ...]) -> None:
    units = install(tmp_path, *options)
    done = ask_systemd("verify", "--man=no", *(str(units / unit) for unit in UNITS))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("mask", [0o077, 0])
def test_all_may_read_what_is_written_and_root_alone_may_write_it_whatever_the_umask_is(
    tmp_path: Path, umask: Callable[[int], int], mask: int
) -> None:
    umask(mask)
    install(tmp_path / "prefix")
    modes = {(path.is_dir(), stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "prefix").rglob("*")}
    assert modes == {(True, 0o755), (False, 0o644)}


@analyze
def test_a_wrong_key_would_be_noticed(tmp_path: Path) -> None:
    unit = install(tmp_path) / "evald.service"
    unit.write_text(unit.read_text("utf-8") + "\n[Service]\nWatchdogSecs=3\n", "utf-8")
    assert "WatchdogSecs" in ask_systemd("verify", "--man=no", str(unit)).stderr


@analyze
@pytest.mark.parametrize(
    ("unit", "options"),
    [(unit, options) for unit in SERVICES for options in ((), ("--user", "evald"), ("--user", "evald", "--gpu"))],
)
def test_the_exposure_stays_at_or_under_four(tmp_path: Path, unit: str, options: tuple[str, ...]) -> None:
    path = install(tmp_path, *options) / unit
    done = ask_systemd("security", "--offline=yes", f"--threshold={EXPOSURE_LIMIT}", "--no-pager", str(path))
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_everything_is_written_for_this_installation_and_a_second_time_changes_nothing(tmp_path: Path) -> None:
    units = install(tmp_path, "--no-gpu")
    written = {path.relative_to(tmp_path / "etc").as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    expected = {f"systemd/system/{unit}" for unit in UNITS}
    expected |= {"sysusers.d/evald.conf", "tmpfiles.d/evald.conf", "evald/evald.toml"}
    assert written - {f"systemd/system/evald.service.d/{install_service._BACK_OFF}"} == expected
    program = next(line for line in (units / "evald.service").read_text("utf-8").splitlines() if "ExecStart=" in line)
    assert Path(program.removeprefix("ExecStart=").split(" ")[0]).is_file()
    for path in tmp_path.rglob("*.*"):
        assert path.is_dir() or not install_service._PLACEHOLDER.search(path.read_text("utf-8"))
    done = CliRunner().invoke(
        install_service.command, ["--prefix", str(tmp_path), "--no-gpu", "--json"], standalone_mode=False
    )
    assert set(json.loads(done.stdout)["files"].values()) == {"unchanged"}


def test_a_file_that_differs_is_replaced_only_by_force_and_settings_never(tmp_path: Path) -> None:
    unit = install(tmp_path) / "evald.service"
    settings = tmp_path / "etc" / "evald" / "evald.toml"
    ours = unit.read_text("utf-8")
    unit.write_text("# mine\n", "utf-8")
    settings.write_text("# mine\n", "utf-8")
    (tmp_path / "etc" / "sysusers.d" / "evald.conf").unlink()
    with pytest.raises(OperatorError, match=r"evald\.service"):
        install(tmp_path)
    assert unit.read_text("utf-8") == "# mine\n"
    assert not (tmp_path / "etc" / "sysusers.d" / "evald.conf").exists()
    install(tmp_path, "--force")
    assert unit.read_text("utf-8") == ours
    assert settings.read_text("utf-8") == "# mine\n"


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    install(tmp_path, "--dry-run")
    assert list(tmp_path.iterdir()) == []


def test_the_back_off_grows_where_systemd_can_do_that(tmp_path: Path) -> None:
    grown = {file.path.name for file in install_service.files(tmp_path, "root", systemd=254)}
    constant = {file.path.name for file in install_service.files(tmp_path, "root", systemd=252)}
    assert grown - constant == {"10-back-off.conf"}


def test_a_service_user_is_created_and_named_everywhere(tmp_path: Path) -> None:
    units = install(tmp_path, "--user", "judge")
    assert 'u judge - "evald"' in (tmp_path / "etc" / "sysusers.d" / "evald.conf").read_text("utf-8")
    for unit in SERVICES:
        text = (units / unit).read_text("utf-8")
        assert "User=judge\nGroup=judge\n" in text
        assert "CapabilityBoundingSet=\n" in text
    with pytest.raises(OperatorError, match="not a name"):
        install(tmp_path, "--user", "x y")


def test_cron_gets_the_same_two_commands(tmp_path: Path) -> None:
    install(tmp_path, "--cron")
    lines = (tmp_path / "etc" / "cron.d" / "evald").read_text("utf-8").splitlines()
    jobs = [line.split(None, 6) for line in lines if line[:1] in "*0123456789"]
    assert [job[5] for job in jobs] == ["root", "root"]
    assert ["sweep" in jobs[0][6], "cleanup --older-than" in jobs[1][6]] == [True, True]


@pytest.mark.parametrize(("user", "has_more"), [("root", False), ("judge", True)])
def test_whoever_lets_cron_run_as_another_user_is_told_how_to_make_it_and_its_home(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, user: str, has_more: bool
) -> None:
    monkeypatch.setattr(install_service, "_seen_above", lambda _place: [])  # the interpreter may be private
    done = CliRunner().invoke(
        install_service.command, ["--prefix", str(tmp_path), "--cron", "--user", user], standalone_mode=False
    )
    told = ["useradd" in done.output, f"install -d -o {user} -g {user} /var/lib/evald" in done.output]
    assert told == [has_more, has_more]


def test_health_is_one_line_for_people_and_valid_text_for_prometheus() -> None:
    finished = datetime(2026, 1, 31, 12, tzinfo=UTC)
    health = Health(2, 1, 7, 3, {JobState.QUEUED: 4, JobState.FINISHED: 9}, finished)
    assert health.status() == "1/2 slots judging, 4 queued, 3 in the inbox, 7 judged"
    assert replace(health, drained=1).status().endswith("7 judged, 1 of 2 devices drained")
    text = replace(health, drained=1).prometheus(up=True, started_s=1, now_s=1769860801.25)
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert samples['evald_jobs{state="queued"}'] == "4"
    assert samples['evald_jobs{state="broken"}'] == "0"
    assert samples["evald_last_finished_timestamp_seconds"] == "1769860800"
    assert samples["evald_health_timestamp_seconds"] == "1769860801.25"
    assert (samples["evald_up"], samples["evald_inbox_waiting"], samples["evald_waiting_for_storage"]) == (
        "1",
        "3",
        "0",
    )
    assert (samples["evald_devices_fit"], samples["evald_devices_drained"]) == ("1", "1")
    busy = replace(health, running=5).prometheus(up=True, started_s=1, now_s=2)
    assert "\nevald_slots_busy 2\n" in busy
    assert "\nevald_jobs_made_ready 3\n" in busy
    typed = {line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert typed == {name.partition("{")[0] for name in samples}
