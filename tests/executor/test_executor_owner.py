"""Who made a folder or a cgroup, and whether that process still lives."""

from __future__ import annotations

import errno
import os
import resource
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.executor.sandbox import owner
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
