"""What a daemon does about a disk that refused a file, and about too few open files."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from daemon import disks, opening
from daemon.config import Settings
from daemon.disks import Disks
from daemon.errors import OperatorError

UNLIMITED = resource.RLIM_INFINITY


def test_after_a_failed_write_folders_are_tried_until_they_take_files_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str | None] = []
    answers = iter(["no files", "no files", None])

    def refusal_of(_settings: Settings) -> str | None:
        tried.append(next(answers))
        return tried[-1]

    monkeypatch.setattr(disks, "lack", lambda _: None)
    monkeypatch.setattr(disks, "refusal_of", refusal_of)
    home = Disks(Settings(home=tmp_path))
    assert (home.lack(), tried) == (None, [])
    assert home.lack_after_fault() == "no files"
    assert [home.lack() for _ in range(3)] == ["no files", None, None]
    assert tried == ["no files", "no files", None]


@pytest.mark.parametrize(
    ("soft", "hard", "raised"),
    [
        (64, 4096, [(128, 4096)]),
        (64, UNLIMITED, [(128, UNLIMITED)]),
        (127, 128, [(128, 128)]),
        (128, 4096, []),
        (1024, 4096, []),
        (UNLIMITED, UNLIMITED, []),
    ],
)
def test_a_process_takes_as_many_open_files_as_it_needs_and_no_fewer_than_it_has(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, raised: list[tuple[int, int]]
) -> None:
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: taken.append(limits))
    opening.require_open_files()
    assert taken == raised


def test_a_process_that_may_not_open_enough_files_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 127))
    with pytest.raises(OperatorError, match="no more than 127 files may be open here"):
        opening.require_open_files()
