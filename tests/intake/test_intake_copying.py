from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from intake_bundles import SOURCE, bundle_members, write_bundle, write_tar, write_zip

from daemon import onemount
from daemon.config import Limits
from daemon.errors import BundleError, LostClaim
from daemon.intake import regular
from daemon.intake.copying import private_copy

LIMITS = Limits()


def problems(entry: Path, limits: Limits = LIMITS) -> list[str]:
    """What is wrong with the bundle; checks that a refused one leaves nothing behind."""
    destination = entry.parent / "copy-of-it"
    with pytest.raises(BundleError) as caught:
        private_copy(entry, destination, limits)
    assert not destination.exists()
    assert not list(entry.parent.glob(".*.copying"))
    return [str(problem) for problem in caught.value.problems]


def make(form: str, folder: Path) -> Path:
    if form == "folder":
        return write_bundle(folder / "b")
    if form.endswith(".zip"):
        return write_zip(folder / form, bundle_members("lead/" if "lead" in form else ""))
    mode: Literal["w", "w:gz"] = "w" if form.endswith(".tar") else "w:gz"
    return write_tar(folder / form, bundle_members("lead/" if "lead" in form else ""), mode)


FORMS = ["folder", "b.tar", "b.tar.gz", "b.TGZ", "b.zip", "lead.tar", "lead.tgz", "lead.zip"]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_same_folder(form: str, tmp_path: Path) -> None:
    copied = private_copy(make(form, tmp_path), tmp_path / "copy", LIMITS)
    assert copied.dir == tmp_path / "copy"
    assert copied.files == ("contract.json", "kernel.py")
    assert (copied.dir / "kernel.py").read_text() == SOURCE
    assert copied.total_bytes == sum((copied.dir / name).stat().st_size for name in copied.files)


def test_a_single_json_file_becomes_the_contract(tmp_path: Path) -> None:
    entry = tmp_path / "k.json@host-b00t-1-0198c0ffee00700080000000000000aa"
    entry.write_text('{"kernel": {}}')
    copied = private_copy(entry, tmp_path / "copy", LIMITS)
    assert copied.files == ("contract.json",)
    assert problems(entry, Limits(contract_bytes=5)) == ["k.json: holds more than 5 bytes (limits.contract_bytes)"]


def test_a_second_copy_replaces_the_first_and_a_half_made_one(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    (tmp_path / ".copy.copying").mkdir()
    (tmp_path / ".copy.copying" / "junk").write_text("left by a kill")
    private_copy(entry, tmp_path / "copy", LIMITS)
    (entry / "kernel.py").write_text("changed")
    assert "junk" not in private_copy(entry, tmp_path / "copy", LIMITS).files
    assert (tmp_path / "copy" / "kernel.py").read_text() == "changed"


def test_modes_are_plain_in_the_copy(tmp_path: Path, umask: Callable[[int], int]) -> None:
    entry = write_bundle(tmp_path / "b")
    (entry / "sub").mkdir()
    (entry / "sub" / "tool").write_text("x")
    (entry / "sub" / "tool").chmod(0o6777)
    (entry / "sub").chmod(0o1777)
    umask(0o077)
    copied = private_copy(entry, tmp_path / "copy", LIMITS)
    assert stat.S_IMODE((copied.dir / "sub" / "tool").stat().st_mode) == 0o644
    assert stat.S_IMODE((copied.dir / "sub").stat().st_mode) == 0o755


def test_links_inside_the_bundle_become_copies_of_files(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    (entry / "sub").mkdir()
    (entry / "sub" / "again.py").symlink_to("../kernel.py")
    (entry / "twice.py").symlink_to("sub/again.py")
    os.link(entry / "kernel.py", entry / "hard.py")
    copied = private_copy(entry, tmp_path / "copy", LIMITS)
    for name in ("sub/again.py", "twice.py", "hard.py"):
        assert (copied.dir / name).read_text() == SOURCE
        assert not (copied.dir / name).is_symlink()


def test_links_that_leave_the_bundle_are_refused_each_with_its_reason(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    (tmp_path / "secret").write_text("secret")
    (entry / "up").symlink_to("../secret")
    (entry / "absolute").symlink_to(tmp_path / "secret")
    (entry / "nothing").symlink_to("nowhere")
    (entry / "loop").symlink_to("loop")
    (entry / "outside").symlink_to("..")
    (entry / "door").symlink_to(tmp_path)
    (entry / "through").symlink_to("door/secret")
    found = problems(entry)
    assert len(found) == 7
    assert any("up: is a link to ../secret, which leaves the bundle" in line for line in found)
    assert any("through" in line for line in found)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what its sender may not")
def test_a_file_of_somebody_else_that_not_everybody_may_read_is_not_read_for_the_sender(tmp_path: Path) -> None:
    """Its name got there by a hard link, or by a rename out of a folder that the sender may write to."""
    folder = write_bundle(tmp_path / "b")
    secret = tmp_path / "secret.txt"
    secret.write_text("for nobody else", "utf-8")
    secret.chmod(0o640)
    (folder / "notes.txt").hardlink_to(secret)
    (folder / "alias.txt").symlink_to("notes.txt")
    os.chown(folder, 4321, 4321)
    found = sorted(problems(folder))
    assert [problem.partition(":")[0] for problem in found] == ["alias.txt", "notes.txt"]
    assert all("is user 0's and not for everybody to read" in problem for problem in found)
    secret.chmod(0o644)
    assert "notes.txt" in private_copy(folder, tmp_path / "copy", LIMITS).files
    secret.chmod(0o600)
    os.chown(secret, 4321, 4321)
    assert "notes.txt" in private_copy(folder, tmp_path / "copy", LIMITS).files
    os.chown(folder, 0, 0)
    assert "notes.txt" in private_copy(folder, tmp_path / "copy", LIMITS).files, "root may read all"


@pytest.mark.parametrize("form", ["x.json", "x.zip"])
def test_a_dropped_file_that_has_another_name_and_that_not_everybody_may_read_is_not_read_for_the_sender(
    form: str, tmp_path: Path
) -> None:
    secret, entry = tmp_path / "secret", tmp_path / form
    if form == "x.zip":
        write_zip(secret, bundle_members())
    else:
        secret.write_text("{}")
    secret.chmod(0o640)
    entry.hardlink_to(secret)
    (line,) = problems(entry)
    assert "has 2 names (hard links) and is not for everybody to read" in line
    secret.chmod(0o644)
    assert "contract.json" in private_copy(entry, tmp_path / "copy", LIMITS).files
    secret.chmod(0o600)
    secret.unlink()
    assert "contract.json" in private_copy(entry, tmp_path / "copy", LIMITS).files


def test_pipes_sockets_and_devices_are_refused_without_being_opened(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    os.mkfifo(entry / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(entry / "sock"))
    assert len(problems(entry)) == 2


@pytest.mark.parametrize("kind", ["link", "pipe", "unknown"])
def test_a_dropped_entry_that_is_no_bundle_is_refused(kind: str, tmp_path: Path) -> None:
    entry = tmp_path / "x.json"
    if kind == "link":
        entry.symlink_to("/etc/hostname")
    elif kind == "pipe":
        os.mkfifo(entry)
    else:
        entry = tmp_path / "kernel.py"
        entry.write_text("x")
    (line,) = problems(entry)
    assert "drop a folder" in line


@pytest.fixture
def lease(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], int]]:
    """Take a write lease on a file: its descriptor, to be let go of with F_UNLCK."""
    monkeypatch.setattr(regular, "_LEASE_S", 0.05)
    held: list[int] = []
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # what the kernel sends to the holder

    def take(path: Path) -> int:
        held.append(os.open(path, os.O_RDWR))
        fcntl.fcntl(held[-1], fcntl.F_SETLEASE, fcntl.F_WRLCK)
        return held[-1]

    yield take
    for descriptor in held:
        os.close(descriptor)
    signal.signal(signal.SIGIO, before)


def test_files_that_their_sender_keeps_under_a_lease_are_his_fault(
    tmp_path: Path, lease: Callable[[Path], int]
) -> None:
    entry, single = write_bundle(tmp_path / "b"), tmp_path / "c.json"
    single.write_text("{}")
    lease(entry / "kernel.py")
    lease(single)
    for dropped in (entry, single):
        with pytest.raises(BundleError, match="under a lease"):
            private_copy(dropped, tmp_path / "copy", LIMITS)


def test_a_lease_that_is_given_up_when_it_is_asked_for_is_waited_for(
    tmp_path: Path, lease: Callable[[Path], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = write_bundle(tmp_path / "b")
    held = lease(entry / "kernel.py")
    monkeypatch.setattr(regular.time, "sleep", lambda _: fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_UNLCK))
    assert "kernel.py" in private_copy(entry, tmp_path / "copy", LIMITS).files


@pytest.mark.parametrize("code", [errno.ENOENT, errno.EACCES, errno.EAGAIN])
@pytest.mark.parametrize("times", [1, 2])
def test_what_a_file_server_says_of_a_file_for_a_moment_only_is_no_verdict(
    code: int, times: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, answered = onemount.status, []

    def fails_at_first(path: str | Path, *, dir_fd: int | None = None) -> os.stat_result:
        if path == "kernel.py" and len(answered) < times:
            answered.append(path)
            raise OSError(code, os.strerror(code))
        return status(path, dir_fd=dir_fd)

    monkeypatch.setattr(onemount, "status", fails_at_first)
    bundle, copy = write_bundle(tmp_path / "b"), tmp_path / "copy"
    if times == 1:
        assert private_copy(bundle, copy, LIMITS).files == ("contract.json", "kernel.py")
        return
    with pytest.raises(BundleError, match=r"kernel\.py"):
        private_copy(bundle, copy, LIMITS)
    assert list(tmp_path.iterdir()) == [bundle]


def test_a_vanished_entry_is_a_lost_claim(tmp_path: Path) -> None:
    with pytest.raises(LostClaim):
        private_copy(tmp_path / "never.json", tmp_path / "copy", LIMITS)


def test_caps_of_a_folder_are_counted_by_what_is_read(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    with (entry / "sparse").open("wb") as stream:
        stream.truncate(1 << 40)
    assert problems(entry, Limits(bundle_bytes=1 << 20))[-1].endswith("1048576 bytes (limits.bundle_bytes)")


def test_a_folder_of_too_many_entries_is_refused_early(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    for number in range(60):
        (entry / f"f{number}").mkdir()
    assert "limits.file_count" in problems(entry, Limits(file_count=50))[0]


def test_case_twins_and_odd_names_in_a_folder_are_refused(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    (entry / "Kernel.PY").write_text("x")
    (entry / "back\\slash").write_text("x")
    (entry / "new\nline").write_text("x")
    (entry / os.fsdecode(b"\xff")).mkdir()
    found = "\n".join(problems(entry))
    for reason in ("only by upper and lower case", "backslash", "control character", "not valid UTF-8"):
        assert reason in found


def test_a_very_deep_folder_is_refused_without_running_out_of_anything(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    here = os.open(entry, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert "folders deep" in problems(entry)[0]


def test_a_bundle_that_changes_while_it_is_copied_gives_a_sound_copy_or_a_refusal(tmp_path: Path) -> None:
    entry = write_bundle(tmp_path / "b")
    (tmp_path / "secret").write_text("secret")
    swapped, stop = entry / "swapped", threading.Event()

    def swap() -> None:
        while not stop.is_set():
            swapped.unlink(missing_ok=True)
            swapped.symlink_to("../secret")
            swapped.unlink()
            swapped.write_text("honest")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(150):
            try:
                copied = private_copy(entry, tmp_path / "copy", LIMITS)
            except BundleError:
                continue
            assert "secret" not in {(copied.dir / name).read_text() for name in copied.files}
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize(("contract", "told"), [(None, True), ("contract.json", False), ("k/contract.json", False)])
def test_a_folder_of_something_else_is_told_first_that_it_has_no_contract(
    tmp_path: Path, contract: str | None, told: bool
) -> None:
    """Whoever judged a checkout by mistake read of fifty links in it, and not of the one thing that it lacks."""
    entry = tmp_path / "checkout"
    (entry / "k").mkdir(parents=True)
    (entry / "out").symlink_to("/etc/passwd")
    if contract is not None:
        (entry / contract).write_text("{}")
    with pytest.raises(BundleError) as caught:
        private_copy(entry, tmp_path / "copy", LIMITS)
    found = [(problem.file, "is missing" in problem.message) for problem in caught.value.problems]
    assert found == [("contract.json", True)] * told + [("out", False)]
