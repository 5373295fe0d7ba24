"""What doctor says of NVIDIA's tools, and the flag that asks for counters."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from daemon.cli import device_checks, report
from daemon.cli.check import Status
from daemon.cli.options import settings_options
from daemon.executor.tools import installed, ncu


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find", lambda name: Path("/usr/local/cuda/bin", name))


def test_doctor_has_the_line_to_type_where_the_driver_keeps_counters_for_administrators(
    tools: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ncu, "driver_restricts", lambda: True)
    check = device_checks._counters()
    assert check.status is Status.WARN
    assert "ERR_NVGPUCTRPERM" in check.message
    assert "NVreg_RestrictProfilingToAdminUsers=0" in str(check.hint)


@pytest.mark.parametrize("restricted", [False, None])
def test_doctor_names_the_ncu_that_may_count(
    tools: None, monkeypatch: pytest.MonkeyPatch, restricted: bool | None
) -> None:
    monkeypatch.setattr(ncu, "driver_restricts", lambda: restricted)
    check = device_checks._counters()
    assert check.status is Status.OK
    assert "/usr/local/cuda/bin/ncu" in check.message


def test_doctor_says_what_is_missing_without_the_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installed, "find", lambda _: None)
    assert device_checks._counters().hint
    assert "unsupported" in device_checks._sanitizer().message


def test_the_flag_takes_no_value_and_asks_for_counters_always() -> None:

    @click.command()
    @settings_options("metrics")
    def command(loaded: object) -> None:
        click.echo(loaded.settings.metrics)  # type: ignore[attr-defined]

    assert CliRunner().invoke(command, ["--metrics"]).output == "always\n"
    assert CliRunner().invoke(command, []).output == "asked\n"
    assert CliRunner().invoke(command, ["--set", "metrics=never"]).output == "never\n"


def test_a_tool_is_found_where_nvidia_puts_it_and_a_cell_gets_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "nsight-compute" / "2025.3.1"
    program = home / "target" / "linux-desktop-glibc_2_11_3-x64" / "ncu"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", "utf-8")
    program.chmod(0o755)
    link = tmp_path / "bin" / "ncu"
    link.parent.mkdir()
    link.symlink_to(program)
    monkeypatch.setenv("PATH", str(link.parent))
    assert installed.find("ncu") == program
    assert installed.find("no-such-tool") is None
    assert installed.folders(program)[0] == home
    assert Path("/usr/local/cuda/bin") not in installed.folders(Path("/usr/local/cuda/bin/ncu"))


def case(**more: object) -> dict[str, object]:
    return {"device_metrics": {}, "checks": [], "timing": None, "ref_timing": None, **more}


def timing(share: float, **more: object) -> dict[str, object]:
    return {"speed_of_light_pct": share, "limiting_side": None, "work_source": None, **more}


def test_the_screen_says_how_much_of_the_device_was_used_and_what_checks_said() -> None:
    counted = {"custom_device_metrics": {"roofline_metrics": {"limiting_side": "memory"}}}
    checked = [
        {"check": "memcheck", "completed": True, "errors": 0},
        {"check": "racecheck", "completed": True, "errors": 3},
        {"check": "initcheck", "completed": False, "errors": 0},
    ]
    one = case(device_metrics=counted, checks=checked, timing=timing(81.25))
    assert report._speed_of_light(one) == "81.2 % of what this device can do: memory"
    declared = timing(42.0, limiting_side="float32", work_source="declared")
    both = case(timing=declared, ref_timing=timing(7.0), device_metrics={"unsupported": "no GPU"})
    assert report._speed_of_light(both) == (
        "42 % of what this device can do: float32, as declared; the reference 7 %\nnot counted: no GPU"
    )
    assert report._sanitized(one) == "memcheck clean, racecheck found 3, initcheck not carried out"


def test_the_screen_says_why_nothing_was_counted_and_nothing_where_nobody_asked() -> None:
    assert report._speed_of_light(case(device_metrics={"unsupported": "no GPU"})) == "not counted: no GPU"
    assert report._speed_of_light(case()) is None
    assert report._sanitized(case()) is None


def judged(name: str, share: float | None) -> dict[str, object]:
    timing = {"stats": {"mean": 1.5}, "speed_of_light_pct": share}
    unknown = dict.fromkeys(("max_abs_error", "speedup", "comparison", "ref_timing"))
    counts = {"trials_passed": 5, "trials_total": 5}
    return {"name": name, "bind": {"N": 3}, "verdict": "passed", "timing": timing, **counts, **unknown}


def test_the_table_of_cases_has_shares_where_any_case_has_one(capsys: pytest.CaptureFixture[str]) -> None:
    report._case_table([judged("small", None), judged("large", 42.125)])
    head, small, large = capsys.readouterr().out.splitlines()
    assert "OF DEVICE" in head
    assert "42.1 %" in large
    assert "%" not in small
    report._case_table([judged("small", None)])
    assert "OF DEVICE" not in capsys.readouterr().out


def refused(name: str, message: str, log: str) -> dict[str, object]:
    failure = {"side": "candidate", "phase": "build", "message": message, "traceback": log}
    ended = {"signal": None, "exit_code": None}
    said = {"stdout_tail": "", "stderr_tail": "", "worst_index": None}
    return {"name": name, "verdict": "compile_error", "failure": failure | ended, **said}


def test_what_a_compiler_said_in_every_case_is_shown_once_and_indented(capsys: pytest.CaptureFixture[str]) -> None:
    same = [refused(name, "nvcc: no\nnor this", "line 1\nline 2") for name in ("small", "large")]
    report._failures([*same, refused("odd", "nvcc: no\nnor this", "line 3")], "")
    shown = capsys.readouterr().out
    assert shown.count("line 1") == 1
    assert "case small" in shown
    assert "case large" not in shown
    assert "case odd" in shown, "it has something else to say"
    assert "\n  nvcc: no\n  nor this\n" in shown


def test_what_stands_above_the_cases_is_not_told_again_below_them(capsys: pytest.CaptureFixture[str]) -> None:
    log = "kernel.cu(3): error\n  here\n1 error detected"
    report._failures([refused("default", f"nvcc: {log}", f"{log}\n")], f"nvcc: {log}")
    assert capsys.readouterr().out == ""
    cases = [refused(name, f"nvcc: {log}", log) for name in ("small", "large")]
    report._failures(cases, f"case small: nvcc: {log}")
    shown = capsys.readouterr().out
    assert "  nvcc: kernel.cu(3): error\n" in shown
    assert "1 error detected" not in shown
