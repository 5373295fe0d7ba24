"""Who made a folder or a cgroup, and whether that process still lives."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.executor.sandbox import cgroup, owner
from daemon.executor.sandbox.owner import is_dead, tag


def test_an_owner_is_dead_only_when_that_is_certain() -> None:
    namespace, pid, started = tag().split("-")
    assert not is_dead(tag())
    assert is_dead(f"{namespace}-{pid}-{int(started) + 1}")
    assert is_dead(f"{namespace}-999999999-1")
    assert not is_dead(f"1-{pid}-1")
    assert not is_dead("15576") and not is_dead("") and not is_dead("x-y-z")


def test_who_has_no_descriptor_left_is_no_other_owner_and_takes_nobody_for_dead() -> None:
    """A judge made groups with "None" for when it was started, which nobody could remove later; and a process that
    sweeps could have taken what a living judge has."""
    before, mine = resource.getrlimit(resource.RLIMIT_NOFILE), tag()
    taken: list[int] = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, before[1]))
        with suppress(OSError):
            while True:
                taken.append(os.dup(0))
        seen = tag(), is_dead(mine)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert seen == (mine, False)


def test_a_process_that_cannot_say_who_it_is_makes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    owner._tag_of.cache_clear()
    monkeypatch.setattr(Path, "read_text", refused)
    with pytest.raises(OSError, match="Too many open files"):
        tag()


def test_a_child_has_a_tag_of_its_own() -> None:
    mine = tag()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, tag().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 100).decode().split("-")[1] == str(child) != mine.split("-")[1]
    os.close(read)
    os.close(write)


def test_only_groups_of_the_dead_are_swept_and_only_those_of_this_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a judge would kill the cells of another that lives."""
    for name in ("dead-1", "alive-1", "unknown"):
        (tmp_path / name).mkdir()
    (tmp_path / "dead-2").touch()
    swept: list[str] = []
    monkeypatch.setattr(owner, "is_dead", lambda tag: tag == "dead")
    monkeypatch.setattr(cgroup, "_destroy", lambda folder, _until: swept.append(folder.name))
    groups = cgroup.Cgroups(1, {"freezer": tmp_path, "memory": tmp_path})
    groups.sweep()
    assert swept == ["dead-1"]
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    groups.sweep()
    assert swept == ["dead-1"], "they are another user's"


def test_what_a_dead_judge_left_frozen_is_thawed_and_killed_and_its_groups_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under every controller: a member of a frozen group does not die before it is thawed."""
    folders = [tmp_path / controller / "dead-1" for controller in ("freezer", "memory")]
    for folder in folders:
        folder.mkdir(parents=True)
    (folders[0] / "freezer.state").write_text("FROZEN\n", "ascii")
    removed: list[Path] = []
    with subprocess.Popen(["sleep", "600"]) as left:
        monkeypatch.setattr(cgroup, "_members", lambda _: [left.pid] if left.poll() is None else [])
        asked = {(left.pid, "dead-1"): {folders[1]}}
        monkeypatch.setattr(cgroup, "_groups_of", lambda pid, name: asked[pid, name])
        monkeypatch.setattr(cgroup, "remove_empty", removed.append)
        cgroup._destroy(folders[0], 0.0)
        assert left.wait() == -signal.SIGKILL
    assert (folders[0] / "freezer.state").read_text("ascii") == "THAWED"
    assert sorted(removed) == sorted(folders)
