"""How urgent a bundle says it is, read without trusting it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from daemon.intake import regular
from daemon.intake.glance import glance, labels_of


def test_the_priority_of_a_folder_and_of_a_file_is_seen(tmp_path: Path) -> None:
    folder, file = tmp_path / "bundle@host-1", tmp_path / "bundle.json@host-1"
    folder.mkdir()
    (folder / "contract.json").write_text(json.dumps({"priority": 7}))
    file.write_text(json.dumps({"priority": -100}))
    assert (glance(folder).priority, glance(file).priority) == (7, -100)


NO_PRIORITY = [
    "",
    "{",
    "[1]",
    '{"priority": "9"}',
    '{"priority": true}',
    '{"priority": 101}',
    '{"priority": 1.5}',
    "{}",
]
DEEP = '{"priority": 5, "deep": ' + "[" * 200_000 + "]" * 200_000 + "}"
LARGE = '{"priority": 5, "x": "' + "y" * 2_000_000 + '"}'


@pytest.mark.parametrize("text", [*NO_PRIORITY, DEEP, LARGE], ids=range(10))
def test_whatever_is_no_priority_counts_as_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "bundle.json"
    file.write_text(text)
    assert glance(file).priority == 0


def test_labels_are_seen_as_far_as_they_are_texts(tmp_path: Path) -> None:
    file = tmp_path / "bundle.json"
    for text, seen in (
        ('{"labels": {"a": "b", "größe": "\\u00e4", "number": 3}}', {"a": "b", "größe": "ä"}),
        ('{"labels": ["a"]}', {}),
        ("{}", {}),
        ("[]", None),
        (LARGE, None),
    ):
        file.write_text(text, "utf-8")
        assert labels_of(file) == seen
    assert labels_of(tmp_path / "nothing") is None


@pytest.mark.parametrize("code", [errno.ESTALE, errno.EIO, errno.ETIMEDOUT, errno.EAGAIN, errno.ENOENT])
def test_a_file_server_that_fails_once_hides_no_priority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """It would wait behind all others that are leased before it."""
    file = tmp_path / "bundle.json"
    file.write_text('{"priority": 9, "labels": {"a": "b"}}')
    opened, faults = regular.opened, [OSError(code, os.strerror(code))]

    def opened_the_second_time(*args: object, **options: object) -> object:
        if faults:
            raise faults.pop()
        return opened(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(regular, "opened", opened_the_second_time)
    seen = glance(file)
    assert (seen.priority, seen.labels, faults) == (9, {"a": "b"}, [])


def test_links_pipes_and_missing_files_are_not_followed_nor_waited_for(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text('{"priority": 3}')
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "contract.json")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "contract.json").write_text('{"priority": 3}')
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    found = [glance(tmp_path / name).priority for name in ("link.json", "link", "pipe.json", "folder", "nothing")]
    assert found == [0, 0, 0, 0, 0]
