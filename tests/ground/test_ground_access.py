"""Files for one reader, and folders in which nobody reads what others make: tried by real users."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon import access
from daemon.evaluation import Evaluation
from daemon.intake.submit import submit
from daemon.paths import Paths
from daemon.results import Readers, stage

DAEMON, SUBMITTER, STRANGER = 64_001, 64_002, 64_003
NOBODY = 0xFFFFFFFF
FOR_OTHERS_NOTHING = access._packed(
    [(0x01, 7, NOBODY), (0x02, 7, DAEMON), (0x04, 0, NOBODY), (0x10, 7, NOBODY), (0x20, 0, NOBODY)]
)


def attempt(uid: int, what: str, path: Path) -> bool:
    """Whether user `uid` may "read", "list" or "remove" it, or "make" a bundle there."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            os.umask(0o022)
            {"read": Path.read_text, "list": os.listdir, "make": _make, "remove": shutil.rmtree}[what](path)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def _make(path: Path) -> None:
    path.mkdir()
    (path / "contract.json").write_text("{}")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can reach, on a file system with access control lists; only root can be everybody."""
    if os.getuid() != 0:
        pytest.skip("only root can be other users")
    with tempfile.TemporaryDirectory(prefix="evald-test-", dir="/var/tmp") as name:
        folder = Path(name)
        try:
            access.share_with(folder, SUBMITTER)
        except OSError as error:
            pytest.skip(f"no access control lists in {folder}: {error.strerror}")
        os.removexattr(folder, "system.posix_acl_access")
        folder.chmod(0o755)
        yield folder


def test_a_file_for_one_reader_is_read_by_nobody_else(place: Path) -> None:
    file = place / "result.json"
    file.write_text("{}")
    access.share_with(file, SUBMITTER)
    assert attempt(SUBMITTER, "read", file)
    assert not attempt(STRANGER, "read", file)
    access.share_with(file, None)
    assert not attempt(STRANGER, "read", file)


def test_a_folder_for_one_reader_is_listed_by_nobody_else(place: Path) -> None:
    folder = place / "folder"
    folder.mkdir()
    access.share_with(folder, SUBMITTER)
    assert attempt(SUBMITTER, "list", folder)
    assert not attempt(STRANGER, "list", folder)


@pytest.mark.parametrize("readers", [Readers(), Readers(everybody=False, uid=SUBMITTER)], ids=["everybody", "one"])
def test_a_result_is_read_by_those_it_is_for(place: Path, readers: Readers) -> None:
    paths = Paths(home=place, inbox=place / "inbox", results=place / "results", state=place / "state")
    paths.create()
    staged = stage(paths, {"job_id": "0" * 32}, Evaluation.rejected("no"), 1, readers)
    for way in (paths.outbox, *paths.outbox.parents):
        if way.is_relative_to(place):
            way.chmod(0o755)
    for what, path in (("read", staged.folder / "result.json"), ("list", staged.folder)):
        assert attempt(SUBMITTER, what, path)
        assert attempt(STRANGER, what, path) is readers.everybody


@pytest.mark.parametrize("how", ["copied", "submitted"])
def test_what_waits_in_a_closed_inbox_is_read_by_its_owner_and_the_daemon(place: Path, how: str) -> None:
    inbox = place / "inbox"
    inbox.mkdir()
    inbox.chmod(0o1777)
    assert not access.keeps_others_out(inbox)
    os.setxattr(inbox, "system.posix_acl_default", FOR_OTHERS_NOTHING)
    assert access.keeps_others_out(inbox)
    if how == "copied":
        bundle = inbox / "mine"
        assert attempt(SUBMITTER, "make", bundle)
    else:
        _make(place / "mine")
        dropped = submit(place / "mine", inbox)
        bundle = inbox / f"{dropped.name}@{dropped.job_id}"
    assert attempt(DAEMON, "read", bundle / "contract.json")
    assert not attempt(STRANGER, "read", bundle / "contract.json")
    assert not attempt(STRANGER, "list", bundle)
    inbox.chmod(0o1770)
    os.chown(inbox, DAEMON, DAEMON)
    archived = place / "archive" / "bundle"
    archived.parent.mkdir()
    os.chown(archived.parent, DAEMON, DAEMON)
    bundle.rename(archived)
    assert attempt(DAEMON, "remove", archived), "the daemon's clean-up"
