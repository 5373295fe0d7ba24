from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import wait_for
from watchdog.observers import inotify_move_event_grouper
from watchdog.observers.inotify import InotifyObserver

from daemon import mounts
from daemon import watcher as watcher_module
from daemon.mounts import Mount, mount_of
from daemon.watcher import Hints, Watcher

LIMIT_S = 120.0


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def watching(inbox: Path) -> Iterator[Watcher]:
    with Watcher(inbox, polling="never", scan_interval_s=0.2) as watcher:
        yield watcher


def gather(watcher: Watcher, until: Callable[[set[str]], bool]) -> set[str]:
    """All names moved in until the condition holds; fails when it never does."""
    names: set[str] = set()
    deadline_s = time.monotonic() + LIMIT_S
    while not until(names):
        assert time.monotonic() < deadline_s, f"only saw {names}"
        names |= watcher.wait(0.5).moved_in
    return names


def marker(watcher: Watcher, inbox: Path, number: int = 0) -> set[str]:
    """What was moved in up to a marker that is moved in now."""
    outside = inbox.parent / f"outside-{number}"
    outside.write_text("")
    outside.rename(inbox / f"marker-{number}")
    return gather(watcher, lambda names: f"marker-{number}" in names) - {f"marker-{number}"}


def test_files_and_folders_renamed_into_the_inbox_are_moved_in(watching: Watcher, inbox: Path) -> None:
    assert watching.mode == "inotify"
    (inbox.parent / "folder").mkdir()
    (inbox.parent / "folder").rename(inbox / "folder")
    (inbox / ".upload.tmp").write_text("x")
    (inbox / ".upload.tmp").rename(inbox / "upload.json")
    odd = os.fsdecode(b"odd\xff\n")
    (inbox.parent / odd).write_text("x")
    (inbox.parent / odd).rename(inbox / odd)
    assert marker(watching, inbox) == {"folder", "upload.json", odd}


def test_what_is_created_or_written_in_place_only_wakes(watching: Watcher, inbox: Path) -> None:
    (inbox / "made").mkdir()
    (inbox / "written.json").write_text("x")
    (inbox / "made" / "inner").write_text("x")
    (inbox / "made" / "inner").rename(inbox / "made" / "renamed")
    assert marker(watching, inbox) == set()


def test_a_hint_is_dropped_when_its_name_is_made_anew(watching: Watcher, inbox: Path) -> None:
    (inbox.parent / "x").write_text("whole")
    (inbox.parent / "x").rename(inbox / "k.json")
    (inbox / "k.json").rename(inbox.parent / "claimed")
    (inbox / "k.json").write_text("ha")
    (inbox.parent / "last").write_text("")
    (inbox.parent / "last").rename(inbox / "last")
    time_s = time.monotonic() + LIMIT_S
    while "last" not in watching._hints._names:
        assert time.monotonic() < time_s
        watching._sleep(0.05)
    assert watching.wait(0).moved_in == {"last"}


def test_a_bundle_taken_away_does_not_hold_up_the_next_one(inbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inotify_move_event_grouper.InotifyMoveEventGrouper, "delay", 3600.0)
    with Watcher(inbox, polling="never") as watching:
        for number in range(3):
            assert marker(watching, inbox, number) == set()
            (inbox / f"marker-{number}").rename(inbox.parent / "claimed")


def test_a_hint_waits_until_it_is_fetched_and_is_given_once(watching: Watcher, inbox: Path) -> None:
    assert marker(watching, inbox) == set()
    assert watching.wait(0.0).moved_in == frozenset()


def test_wait_ends_after_the_scan_interval_when_nothing_happens(watching: Watcher) -> None:
    hints = [watching.wait(300) for _ in range(4)]
    assert hints[-1] == Hints(frozenset(), woke=False)


@pytest.mark.parametrize("polling", ["always", "never"])
def test_wake_ends_a_wait_from_a_thread_and_from_a_signal_handler(polling: str, inbox: Path) -> None:
    with Watcher(inbox, polling=polling, scan_interval_s=LIMIT_S) as watcher:  # type: ignore[arg-type]
        watcher.wait(0)
        threading.Timer(0.05, watcher.wake).start()
        assert watcher.wait(LIMIT_S).woke
        old = signal.signal(signal.SIGUSR1, lambda *_: watcher.wake())
        try:
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            assert watcher.wait(LIMIT_S).woke
            signal.raise_signal(signal.SIGUSR1)
            assert watcher.wait(LIMIT_S).woke
        finally:
            signal.signal(signal.SIGUSR1, old)
    watcher.wake()


def test_an_inbox_that_vanishes_and_returns_is_watched_again(watching: Watcher, inbox: Path) -> None:
    for number in range(2):
        inbox.rename(inbox.parent / f"gone-{number}")
        watching.wait(0)
        assert watching.mode == "polling (no inbox)"
        inbox.mkdir()
        watching.wait(0)
        assert watching.mode == "inotify"
        marker(watching, inbox, number)
    inbox.rename(inbox.parent / "gone")
    inbox.mkdir()
    watching.wait(0)
    marker(watching, inbox, 7)


FAULTS = [errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EACCES]


@pytest.mark.parametrize("code", FAULTS, ids=errno.errorcode.get)
@pytest.mark.parametrize("polling", ["auto", "never"])
def test_an_inbox_whose_server_fails_is_no_inbox_until_it_is_back(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, polling: str, code: int
) -> None:
    stat = Path.stat

    def failing(path: Path, **options: bool) -> os.stat_result:
        if path == inbox:
            raise OSError(code, os.strerror(code), str(path))
        return stat(path, **options)

    with Watcher(inbox, polling=polling, scan_interval_s=0.01) as watcher:  # type: ignore[arg-type]
        before = watcher.mode
        with monkeypatch.context() as server:
            server.setattr(Path, "stat", failing)
            assert not watcher.wait(0).moved_in
            assert watcher.mode == "polling (no inbox)"
        watcher.wait(0)
        assert watcher.mode == before


def test_a_link_to_the_inbox_that_cannot_be_read_is_no_inbox_until_it_can(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = inbox.parent / "link"
    link.symlink_to("inbox")

    def failing(path: str) -> str:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), path)

    with monkeypatch.context() as server:
        server.setattr(os, "readlink", failing)
        with Watcher(link, scan_interval_s=0.01) as watcher:
            assert watcher.mode == "polling (no inbox)"
            server.undo()
            watcher.wait(0)
            assert watcher.mode != "polling (no inbox)"


def test_a_missing_inbox_at_the_start_is_waited_for(tmp_path: Path) -> None:
    with Watcher(tmp_path / "later", polling="never", scan_interval_s=0.1) as watcher:
        assert watcher.mode == "polling (no inbox)"
        (tmp_path / "later").mkdir()
        watcher.wait(0)
        marker(watcher, tmp_path / "later")


def test_an_inbox_that_is_a_link_to_a_folder_is_watched(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "inbox").symlink_to("real")
    with Watcher(tmp_path / "inbox", polling="never") as watcher:
        marker(watcher, tmp_path / "inbox")


def test_a_dead_observer_thread_is_replaced(watching: Watcher, inbox: Path) -> None:
    first = watching._observer
    assert first is not None
    first._observer.stop()
    first._observer.join(LIMIT_S)
    watching.wait(0)
    assert watching._observer is not first
    marker(watching, inbox)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EMFILE])
def test_an_exhausted_inotify_limit_means_polling_and_is_tried_again(
    inbox: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = InotifyObserver

    def exhausted(**_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(watcher_module, "InotifyObserver", exhausted)
    with Watcher(inbox, polling="never", scan_interval_s=0.01) as watcher:
        assert watcher.mode == f"polling (inotify: {os.strerror(code)})"
        monkeypatch.setattr(watcher_module, "InotifyObserver", real)
        watcher.wait(0)
        assert watcher.mode.startswith("polling")
        watcher._retry_at_s = 0.0
        watcher.wait(0)
        assert watcher.mode == "inotify"


def test_a_host_without_a_thread_to_spare_means_polling_and_is_tried_again(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threading.active_count()
    with monkeypatch.context() as full:
        full.setattr(InotifyObserver, "start", lambda _: (_ for _ in ()).throw(RuntimeError("can't start new thread")))
        with Watcher(inbox, polling="never", scan_interval_s=0.01) as watcher:
            assert watcher.mode == "polling (inotify: can't start new thread)"
            full.undo()
            watcher._retry_at_s = 0.0
            watcher.wait(0)
            assert watcher.mode == "inotify"
    assert threading.active_count() <= before


def test_what_was_moved_into_a_folder_that_was_the_inbox_says_nothing_about_the_next_one(
    watching: Watcher, inbox: Path
) -> None:
    outside = inbox.parent / "x"
    outside.write_text("")
    outside.rename(inbox / "bundle")
    deadline_s = time.monotonic() + LIMIT_S
    while "bundle" not in watching._hints._names:
        assert time.monotonic() < deadline_s
        watching._sleep(0.05)
    inbox.rename(inbox.with_name("gone"))
    inbox.mkdir()
    (inbox / "bundle").write_text("half of one")
    assert watching.wait(0).moved_in == frozenset()
    assert watching.mode == "inotify"


def test_nothing_is_closed_while_somebody_wakes_it_and_whoever_wakes_it_meanwhile_is_heard(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closed descriptor's number may be another file's a moment later."""
    writing, go_on, written, write = threading.Event(), threading.Event(), [], os.eventfd_write

    def slow(descriptor: int, value: int) -> None:
        writing.set()
        assert go_on.wait(LIMIT_S)
        write(descriptor, value)
        written.append(descriptor)

    watcher = Watcher(inbox, polling="always")
    watcher.__enter__()
    monkeypatch.setattr(os, "eventfd_write", slow)
    waker = threading.Thread(target=watcher.wake)
    waker.start()
    assert writing.wait(LIMIT_S)
    watcher.wake()  # as a signal handler would: at once, although another is at it
    ended = threading.Thread(target=watcher.__exit__, args=(None, None, None))
    ended.start()
    ended.join(0.2)  # what does not wait would have closed it by then
    go_on.set()
    for thread in (waker, ended):
        thread.join(LIMIT_S)
        assert not thread.is_alive()
    assert written, "it was closed under whoever wrote"
    watcher.wake()


def test_a_flood_of_renames_keeps_the_hints_bounded(
    watching: Watcher, inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "_HINT_LIMIT", 50)
    for number in range(500):
        (inbox.parent / "x").write_text("")
        (inbox.parent / "x").rename(inbox / f"k{number}")
    wait_for(lambda: len(watching._hints._names) >= 50, "as many names as are kept")
    hints = watching.wait(1)
    assert len(hints.moved_in) <= 50


def test_stopping_leaves_no_thread_and_no_descriptor(inbox: Path) -> None:
    def resources() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    with Watcher(inbox, polling="never"):
        pass
    before = resources()
    for _ in range(3):
        with Watcher(inbox, polling="never"):
            pass
    assert all(now <= then for now, then in zip(resources(), before, strict=True)), "others may end meanwhile"


MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/my\\040share rw - nfs4 server:/export rw,vers=4.2
31 22 0:41 / /mnt/ssh rw master:1 - fuse.sshfs user@host: rw
32 22 0:42 / /mnt rw - ext4 /dev/vdb rw
33 22 0:43 / /mnt/hidden rw - cifs //server/share rw
34 22 0:44 / /mnt/hidden rw - xfs /dev/vdc rw
broken line
"""


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("/mnt/my share/inbox", Mount("/mnt/my share", "nfs4")),
        ("/mnt/ssh", Mount("/mnt/ssh", "fuse.sshfs")),
        ("/mnt/sshfoo", Mount("/mnt", "ext4")),
        ("/mnt/hidden/x", Mount("/mnt/hidden", "xfs")),
        ("/home/x", Mount("/", "ext4")),
    ],
)
def test_the_mount_that_holds_a_path_is_found(tmp_path: Path, place: str, expected: Mount) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    found = mount_of(Path(place), tmp_path / "mountinfo")
    assert found is not None
    assert (found.point, found.fstype) == (expected.point, expected.fstype)


def test_network_file_systems_are_told_from_local_ones() -> None:
    network = ("nfs", "nfs4", "cifs", "smb3", "fuse.sshfs", "fuse.glusterfs", "9p", "lustre", "beegfs", "gpfs", "ceph")
    assert all(Mount("/", fstype).is_network for fstype in network)
    assert not any(Mount("/", fstype).is_network for fstype in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "zfs"))


def test_an_inbox_on_a_network_file_system_is_polled_unless_told_otherwise(
    inbox: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher_module, "mount_of", lambda _: Mount("/", "nfs4"))
    with Watcher(inbox, scan_interval_s=0.01) as watcher:
        assert watcher.mode == "polling (nfs4)"
        assert not watcher.wait(300).woke
    with Watcher(inbox, polling="never") as watcher:
        assert watcher.mode == "inotify"
    with Watcher(inbox, polling="always") as watcher:
        assert watcher.mode == "polling (as configured)"


def test_this_machines_own_mounts_can_be_read(inbox: Path) -> None:
    mount = mount_of(inbox)
    assert mount is not None
    assert mount.fstype


def test_what_is_mounted_apart_cannot_be_renamed_to(monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"inbox": "/srv/inbox", "work": "/srv", "archive": "/srv/inbox"}
    monkeypatch.setattr(mounts, "mount_of", lambda folder: Mount(points[folder.name], "ext4"))
    folders = [Path("/srv", name) for name in points]
    assert mounts.apart(folders) == [Path("/srv/work")]
    assert mounts.apart(folders[:1]) == mounts.apart([]) == []
