from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from intake_bundles import SOURCE, bundle_members, write_bundle, write_tar, write_zip

from daemon import fsio
from daemon.config import Limits
from daemon.errors import BundleError, OperatorError
from daemon.intake.copying import private_copy
from daemon.intake.spool import Spool
from daemon.intake.submit import submit, submit_document
from daemon.paths import Paths

JOB = "0198c0ffee00700080000000000000bb"


@pytest.mark.parametrize("form", ["folder", "b.tar", "b.zip", "b.json"])
def test_a_submitted_bundle_is_claimed_under_the_id_its_sender_knows(
    form: str, paths: Paths, spool: Spool, tmp_path: Path
) -> None:
    if form == "folder":
        source = write_bundle(tmp_path / "vec_add")
    elif form == "b.json":
        source = tmp_path / form
        source.write_text('{"kernel": {}}')
    else:
        write = write_zip if form == "b.zip" else write_tar
        source = write(tmp_path / form, bundle_members())
    dropped = submit(source, paths.inbox)
    assert [entry.name for entry in paths.inbox.iterdir()] == [f"{source.name}@{dropped.job_id}"]
    claimed = spool.claim(f"{source.name}@{dropped.job_id}")
    assert (claimed.job_id, claimed.name) == (dropped.job_id, dropped.name) == (dropped.job_id, source.name)
    assert "contract.json" in private_copy(claimed.path, paths.jobs / claimed.job_id, Limits()).files
    assert source.exists()


def test_a_job_id_can_be_given_once_and_nothing_is_overwritten(paths: Paths, tmp_path: Path) -> None:
    source = write_bundle(tmp_path / "b")
    assert submit(source, paths.inbox, JOB).job_id == JOB
    (source / "kernel.py").write_text("other")
    with pytest.raises(OperatorError, match="already in the inbox"):
        submit(source, paths.inbox, JOB)
    assert (paths.inbox / f"b@{JOB}" / "kernel.py").read_text() == SOURCE
    assert len(list(paths.inbox.iterdir())) == 1


def test_hidden_and_long_names_become_visible_ones_that_fit(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / ".hidden.json").write_text("{}")
    (tmp_path / ("n" * 250 + ".json")).write_text("{}")
    assert submit(tmp_path / ".hidden.json", paths.inbox).name == "hidden.json"
    assert submit(tmp_path / ("n" * 250 + ".json"), paths.inbox).name.endswith("n.json")


def test_the_current_folder_can_be_submitted(paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(write_bundle(tmp_path / "vec_add"))
    assert submit(Path(), paths.inbox).name == "vec_add"


def test_what_cannot_be_submitted_is_refused_with_what_to_do_and_leaves_nothing(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text("x")
    os.mkfifo(tmp_path / "pipe.json")
    sound = write_bundle(tmp_path / "sound")
    cases = [
        (tmp_path / "never", paths.inbox, None, "No such file", "check the path"),
        (tmp_path / "kernel.py", paths.inbox, None, "is not a bundle", "submit "),
        (tmp_path / "pipe.json", paths.inbox, None, "is not a bundle", "submit "),
        (sound, tmp_path / "no-inbox", None, "cannot write to the inbox .*No such file", "--home"),
        (sound, paths.inbox, "not an id", "'not an id' is no job id", "32 hex digits"),
    ]
    for path, inbox, job_id, message, hint in cases:
        with pytest.raises(OperatorError, match=message) as caught:
            submit(path, inbox, job_id)
        assert hint in (caught.value.hint or "")
    (sound / "out").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="leaves the bundle"):
        submit(sound, paths.inbox)
    assert list(paths.inbox.iterdir()) == []


def test_an_inbox_that_is_mounted_read_only_is_told_with_what_shows_it(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    sound = write_bundle(tmp_path / "sound")
    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(OperatorError, match="Read-only file system") as caught:
        submit(sound, paths.inbox)
    assert str(caught.value.hint).startswith(f"findmnt -T {paths.inbox} ")


def test_what_somebody_puts_under_the_hidden_name_is_not_followed(
    paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may drop bundles into a shared inbox sees that name, and when it is free again."""
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "file").touch()
    rename = fsio.rename

    def swapped(source: Path, target: Path) -> None:
        rename(source, target)
        source.symlink_to(foreign)

    monkeypatch.setattr(fsio, "rename", swapped)
    dropped = submit_document(b"{}", "mine", paths.inbox)
    assert (paths.inbox / f"mine.json@{dropped.job_id}").read_bytes() == b"{}"
    assert (foreign / "file").exists()


@pytest.mark.parametrize(("reason", "asks_for_room"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_only_a_disk_that_is_full_is_said_to_be(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, reason: int, asks_for_room: bool
) -> None:
    def refuse(_source: Path, _target: Path) -> None:
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(fsio, "rename", refuse)
    with pytest.raises(OperatorError) as refused:
        submit_document(b"{}", "mine", paths.inbox)
    assert ("df -h" in (refused.value.hint or "")) is asks_for_room


@pytest.mark.parametrize("place", ["evald-home/inbox", "inbox", "."])
def test_a_bundle_that_holds_the_inbox_is_not_copied_into_itself(tmp_path: Path, place: str) -> None:
    """evald run in the folder of a bundle makes its home there: what was dropped then held itself, 32 folders deep."""
    sound = write_bundle(tmp_path / "sound")
    inbox = sound / place
    inbox.mkdir(parents=True, exist_ok=True)
    before = sorted(sound.rglob("*"))
    with pytest.raises(BundleError, match="its copy is made in it") as caught:
        submit(sound, inbox)
    assert len(caught.value.problems) == 1
    assert sorted(sound.rglob("*")) == before


@pytest.mark.parametrize("fails", ["rename", "repeated", "fsync"])
def test_a_sender_is_not_told_to_try_again_where_the_bundle_is_in_the_inbox(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """A file server may rename it and say that it could not, or be asked twice for lack of an answer."""
    rename, fsync_dir, failed = os.rename, fsio.fsync_dir, list[str]()

    def lost(source: Path, target: Path) -> None:
        rename(source, target)
        if fails != "fsync":
            code = errno.ENOENT if fails == "repeated" else errno.ETIMEDOUT
            raise OSError(code, os.strerror(code))

    def stale(folder: Path) -> None:
        if fails == "fsync" and not failed:
            failed.append(str(folder))
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        fsync_dir(folder)

    monkeypatch.setattr(os, "rename", lost)
    monkeypatch.setattr(fsio, "fsync_dir", stale)
    dropped = submit_document(b"{}", "it", paths.inbox)
    assert [entry.name for entry in paths.inbox.iterdir()] == [f"it.json@{dropped.job_id}"]


def test_a_sender_is_told_where_the_bundle_is_not_in_the_inbox(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(source: Path, target: Path) -> None:
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    monkeypatch.setattr(os, "rename", refuses)
    with pytest.raises(OperatorError, match="cannot write to the inbox"):
        submit_document(b"{}", "it", paths.inbox)
    assert list(paths.inbox.iterdir()) == []
