"""A sender who mounts something into his bundle: nobody waits for what is mounted there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import silent_mount
from intake_bundles import write_bundle

from daemon import onemount
from daemon.config import Limits
from daemon.errors import BundleError, HarnessError
from daemon.intake import waiting
from daemon.intake.copying import private_copy
from daemon.intake.glance import glance
from daemon.intake.readiness import EntryState, Readiness
from daemon.intake.spool import Spool
from daemon.paths import Paths

TORN_S = 100.0


def looked_at(inbox: Path, *moved_in: str) -> dict[str, tuple[EntryState, str]]:
    """What a look says now, and one after all patience."""
    readiness = Readiness(inbox, quiet_s=1.0, torn_after_s=TORN_S)
    for now_s in (0.0, 2.0):
        readiness.look(frozenset(moved_in), now_s)
    return {seen.name: (seen.state, seen.reason) for seen in readiness.look(frozenset(), TORN_S + 10.0)}


@pytest.mark.parametrize("place", ["silent", "src/silent", "contract.json"])
def test_a_bundle_in_which_something_is_mounted_is_torn_and_keeps_nobody_waiting(place: str, paths: Paths) -> None:
    write_bundle(paths.inbox / "good")
    bundle = write_bundle(paths.inbox / "bad")
    if place == "contract.json":
        (bundle / place).unlink()
    with silent_mount.mounted(bundle / place):
        found = looked_at(paths.inbox)
        assert found["good"][0] is EntryState.READY
        assert found["bad"][0] is EntryState.TORN
        assert onemount.MOUNTED in found["bad"][1]
        assert any(onemount.MOUNTED in entry.reason for entry in waiting.look(paths.inbox).entries)


def test_an_entry_on_which_something_is_mounted_is_torn_and_keeps_nobody_waiting(paths: Paths, spool: Spool) -> None:
    with silent_mount.mounted(paths.inbox / "bad"):
        found = looked_at(paths.inbox, "bad")
        assert found["bad"][0] is EntryState.TORN
        assert onemount.MOUNTED in found["bad"][1]
        for asked in (spool.claim, spool.submitter_of):
            with pytest.raises(HarnessError, match="mounted"):
                asked("bad")
        assert glance(paths.inbox / "bad").priority == 0


def test_a_bundle_in_which_something_is_mounted_is_refused_and_set_aside(
    paths: Paths, spool: Spool, tmp_path: Path
) -> None:
    bundle = write_bundle(paths.inbox / "bad")
    (bundle / "alias").symlink_to("silent/kernel.py")
    with silent_mount.mounted(bundle / "silent"):
        claimed = spool.claim("bad")
        assert glance(claimed.path).priority == 0
        with pytest.raises(BundleError) as refused:
            private_copy(claimed.path, tmp_path / "copy", Limits())
        assert sorted(problem.message for problem in refused.value.problems) == [
            f"cannot be opened: {onemount.MOUNTED}",
            f"cannot be opened: {onemount.MOUNTED}",
        ]
        assert (spool.reject(claimed, "x") / "reason.txt").exists()
        assert not os.path.lexists(claimed.path)


def test_what_is_mounted_on_a_claimed_bundle_is_no_bundle(paths: Paths, tmp_path: Path) -> None:
    with silent_mount.mounted(paths.work / "bad"), pytest.raises(BundleError, match="mounted"):
        private_copy(paths.work / "bad", tmp_path / "copy", Limits())


def test_where_the_kernel_cannot_refuse_to_cross_a_mount_bundles_are_taken_as_well(
    paths: Paths, spool: Spool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onemount, "_is_known", lambda: False)
    write_bundle(paths.inbox / "good")
    assert looked_at(paths.inbox)["good"][0] is EntryState.READY
    assert private_copy(spool.claim("good").path, tmp_path / "copy", Limits()).files == ("contract.json", "kernel.py")


def test_a_name_says_what_it_is_as_lstat_does(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    for name in ("file", "link", "pipe"):
        assert onemount.status(tmp_path / name) == (tmp_path / name).lstat()
        assert onemount.is_there(tmp_path / name)
    assert not onemount.is_there(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        onemount.status(tmp_path / "gone")
    with pytest.raises(ValueError, match="null"):
        onemount.status("a\0b", dir_fd=os.open(tmp_path, os.O_PATH))
