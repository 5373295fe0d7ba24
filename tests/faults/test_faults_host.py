"""Hosts that cannot confine as they should: they refuse, or say in every result what is weaker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from executor_bundles import compare, forward, write_bundle
from executor_settings import cell_uid, small_settings
from faults_host import can_be_root
from service_rehearsal import Place

from daemon.errors import OperatorError
from daemon.executor.local import LocalEngine
from daemon.executor.sandbox import probe
from daemon.executor.sandbox.cgroup import Cgroups

pytestmark = pytest.mark.sandbox


def bubblewrap_that(folder: Path, script: str) -> Path:
    folder.mkdir()
    (folder / "bwrap").write_text(f"#!/bin/sh\n{script}\n", "ascii")
    (folder / "bwrap").chmod(0o755)
    return folder


def test_a_host_without_user_namespaces_judges_nothing_and_says_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = "bwrap: No permissions to create new namespace"
    monkeypatch.setenv("PATH", str(bubblewrap_that(tmp_path / "bin", f"echo '{words}' >&2; exit 1")))
    engine = LocalEngine(small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(40)}))
    try:
        with pytest.raises(OperatorError, match="No permissions to create new namespace"):
            engine.start()
    finally:
        engine.close()
    with pytest.raises(OperatorError) as raised:
        probe.assess("bubblewrap", None)
    assert raised.value.hint


def test_a_host_that_takes_the_capabilities_of_what_bubblewrap_starts_judges_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As AppArmor's profile for bubblewrap does: it makes its own namespaces, a cell could have none."""
    taken = 'for word; do shift; [ "$word" = -- ] && set -- "$@" --cap-drop ALL; set -- "$@" "$word"; done'
    folder = bubblewrap_that(tmp_path / "bin", f'{taken}\nexec {shutil.which("bwrap")} "$@"')
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    with pytest.raises(OperatorError, match="cannot make namespaces here: unshare"):
        probe.assess("bubblewrap", None)


_RESTRICTED = "kernel.apparmor_restrict_unprivileged_userns"
_TYPED = "printf '%s\\n' {} | sudo tee /etc/sysctl.d/60-evald.conf && sudo sysctl -p /etc/sysctl.d/60-evald.conf"


@pytest.mark.parametrize(
    ("switches", "privileged", "typed"),
    [
        ({_RESTRICTED: 1, "kernel.unprivileged_userns_clone": 1}, False, _TYPED.format(f"{_RESTRICTED}=0")),
        ({_RESTRICTED: 0, "kernel.unprivileged_userns_clone": 0}, False, "=1 | "),
        ({_RESTRICTED: 0, "user.max_user_namespaces": 0}, True, _TYPED.format("user.max_user_namespaces=10000")),
        ({_RESTRICTED: 1, "user.max_user_namespaces": 8000}, True, "run-in-a-container"),
        ({}, False, "run-in-a-container"),
    ],
    ids=["Ubuntu", "Debian", "none at all", "who may administer is not restricted", "nothing to be seen"],
)
def test_what_forbids_namespaces_decides_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, switches: dict[str, int], privileged: bool, typed: str
) -> None:
    _host_with(switches, privileged, tmp_path, monkeypatch)
    assert typed in _hint()


def test_apparmors_profile_for_bubblewrap_is_put_away_for_root_as_well_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _host_with({_RESTRICTED: 1}, True, tmp_path, monkeypatch)
    profile = tmp_path / "bwrap-userns-restrict"
    profile.touch()
    disabled = tmp_path / "disable"
    disabled.mkdir()
    assert _hint() == f"sudo ln -s {profile} {disabled}/ && sudo apparmor_parser -R {profile}"
    (disabled / profile.name).symlink_to(profile)
    assert "apparmor_parser" not in _hint()


def _host_with(switches: dict[str, int], privileged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One without namespaces and with these sysctls."""
    for name, value in switches.items():
        path = tmp_path / "sys" / name.replace(".", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n", "ascii")
    monkeypatch.setattr(probe, "_SYSCTL", tmp_path / "sys")
    monkeypatch.setattr(probe, "_PROFILE", tmp_path / "bwrap-userns-restrict")
    monkeypatch.setattr(probe, "_DISABLED", tmp_path / "disable")
    monkeypatch.setattr(probe, "_may_administer", lambda: privileged)
    monkeypatch.setenv("PATH", str(bubblewrap_that(tmp_path / "bin", "exit 1")))


def _hint() -> str:
    with pytest.raises(OperatorError) as raised:
        probe.assess("bubblewrap", None)
    return str(raised.value.hint)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (None, "no writable cgroup"),
        (Cgroups(1, {"freezer": Path("/x")}), "controllers not available: memory, pids, cpu"),
    ],
    ids=["none", "freezer only"],
)
def test_what_a_host_without_cgroups_cannot_limit_is_said(groups: Cgroups | None, words: str) -> None:
    isolation = probe.assess("bubblewrap", groups)
    assert any(words in reason for reason in isolation.weaker), isolation
    assert "cgroup" not in isolation.level or groups is not None
    if groups is not None:
        assert isolation.level.endswith("cgroup1")


@pytest.mark.skipif(not can_be_root(), reason="hiding the cgroups takes a mount namespace of root's")
def test_without_cgroups_a_bundle_is_judged_inside_its_walls_with_rlimits_and_the_result_says_so(
    tmp_path: Path, here: Place
) -> None:
    """A real host without them, made by hiding /sys/fs/cgroup from evald and all it starts."""
    bomb = forward("kept = [bytearray(1 << 24) for _ in range(1000)]\nreturn a + b")
    bundle = write_bundle(tmp_path, compare(bomb, timeout=120), {})
    hidden = "mount -t tmpfs -o ro none /sys/fs/cgroup && exec " + " ".join(
        [sys.executable, "-m", "daemon", "eval", str(bundle), "--json"]
    )
    uid = str(cell_uid(41))
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", hidden],
        env=here.environment(ENGINE="local", SANDBOX_MEMORY_BYTES=str(1 << 30), SANDBOX_UID_BASE=uid, DEVICE="cpu"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    result = json.loads(done.stdout)
    assert result["verdict"] == "out_of_memory", result
    environment = result["environment"]
    assert environment["isolation"] == "bubblewrap+uid"
    assert any("no writable cgroup" in reason for reason in environment["isolation_weaker"])


def test_root_who_is_the_only_user_of_a_namespace_gives_no_cell_a_uid_and_says_so() -> None:
    ask = "from daemon.executor.sandbox import probe; print(probe.assess('bubblewrap', None))"
    alone = ["unshare", "--user", "--map-root-user", sys.executable, "-c", ask]
    done = subprocess.run(alone, capture_output=True, text=True, timeout=120, check=False)
    if "unshare failed" in done.stderr:
        pytest.skip("no user namespaces here")
    assert "level='bubblewrap'" in done.stdout, done
    assert "cells share the daemon's uid" in done.stdout


@pytest.mark.skipif(not can_be_root(), reason="a file system of one's own takes a mount namespace of root's")
def test_what_cells_see_below_a_tmp_from_which_nothing_may_be_run_does_not_keep_them_from_starting(
    tmp_path: Path, here: Place
) -> None:
    bundle = write_bundle(tmp_path, compare(forward("return a + b")), {})
    backends = tmp_path / "backends"
    backends.mkdir()
    assert str(tmp_path).startswith("/tmp/")
    mounted = f"mount -t tmpfs -o noexec,mode=755 none {backends} && exec " + " ".join(
        [sys.executable, "-m", "daemon", "eval", str(bundle), "--json", "--backend-path", str(backends)]
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", mounted],
        env=here.environment(ENGINE="local", SANDBOX_UID_BASE=str(cell_uid(41)), DEVICE="cpu"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert json.loads(done.stdout).get("verdict") == "passed", done.stdout + done.stderr
