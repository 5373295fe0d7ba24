"""What people are told of an inbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from daemon.intake import waiting
from daemon.paths import Paths


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
@pytest.mark.parametrize(
    ("evald", "mode", "is_movable"),
    [(1234, 0o755, False), (1234, 0o757, True), (1234, 0o770, True), (0, 0o755, True), (4321, 0o755, True)],
)
def test_a_folder_that_evald_may_not_move_is_complete_and_says_so(
    tmp_path: Path, evald: int, mode: int, is_movable: bool
) -> None:
    """Of user 4321 and of evald's own group."""
    paths = Paths(tmp_path, tmp_path / "inbox", tmp_path / "results", tmp_path / "state")
    paths.create()
    os.chown(paths.work, evald, 99)
    dropped = paths.inbox / "theirs"
    dropped.mkdir()
    (dropped / "contract.json").write_text("{}")
    os.chown(dropped, 4321, 99)
    dropped.chmod(mode)
    (entry,) = waiting.look(paths.inbox).entries
    assert entry.is_complete
    assert ("may not move it" in entry.reason) is not is_movable


def test_an_entry_that_lacks_something_is_not_complete(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (entry,) = waiting.look(tmp_path).entries
    assert not entry.is_complete
    assert "contract.json" in entry.reason
