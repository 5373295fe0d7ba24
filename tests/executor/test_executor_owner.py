"""Who made a folder or a cgroup, and whether that process still lives."""

from __future__ import annotations

from daemon.executor.sandbox.owner import is_dead, tag


def test_an_owner_is_dead_only_when_that_is_certain() -> None:
    namespace, pid, started = tag().split("-")
    assert not is_dead(tag())
    assert is_dead(f"{namespace}-{pid}-{int(started) + 1}")
    assert is_dead(f"{namespace}-999999999-1")
    assert not is_dead(f"1-{pid}-1")
    assert not is_dead("15576") and not is_dead("") and not is_dead("x-y-z")
