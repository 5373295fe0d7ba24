"""kill -9 before every system call that changes the spool: nothing lost, nothing doubled, and it can be done again."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from intake_bundles import write_bundle

from daemon.errors import EvaldError
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.paths import Paths

_CHANGES = {"os.rename", "os.mkdir", "open", "os.remove"}
_OWNER = Owner("host", "b00t", 1)


def _killed_at(step: int, action: Callable[[], object]) -> bool:
    """Run `action` in a fork that kills itself before its `step`-th change of the disk. False when it ended."""
    child = os.fork()
    if child == 0:
        left = step

        def count(event: str, _: object) -> None:
            nonlocal left
            if event in _CHANGES:
                left -= 1
                if left < 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        try:
            action()
        except EvaldError:
            os._exit(3)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _copies(paths: Paths) -> list[Path]:
    return [path for folder in paths.spool for path in folder.rglob("kernel.py")]


@pytest.mark.parametrize("ending", ["archive", "reject", "quarantine", "give_back"])
def test_a_kill_at_any_step_leaves_one_bundle_and_can_be_resumed(paths: Paths, ending: str) -> None:
    def finish(spool: Spool) -> None:
        for claimed in spool.held():
            if ending in ("reject", "quarantine"):
                getattr(spool, ending)(claimed, "the reason")
            else:
                getattr(spool, ending)(claimed)

    def whole() -> None:
        spool = Spool(paths, _OWNER)
        spool.claim("bundle")
        finish(spool)

    kills = 0
    while True:
        write_bundle(paths.inbox / "bundle")
        killed = _killed_at(kills, whole)
        assert len(_copies(paths)) == 1
        spool = Spool(paths, Owner("host", "b00t", 2))
        if killed and not list(spool.held()) and (paths.inbox / "bundle").exists():
            spool.claim("bundle")
        finish(spool)
        (kept,) = _copies(paths)
        assert list(paths.work.iterdir()) == []
        if ending in ("reject", "quarantine"):
            assert (kept.parent.parent / "reason.txt").read_text() == "the reason\n"
        kept.parent.rename(paths.home / f"done-{kills}")
        if not killed:
            break
        kills += 1
    assert kills >= 3
