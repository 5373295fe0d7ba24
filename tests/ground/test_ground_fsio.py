"""Durable file operations on a real disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from daemon import fsio


def test_an_atomic_write_replaces_the_content_and_leaves_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file"
    fsio.write_atomic(target, b"one")
    fsio.write_atomic(target, b"two", mode=0o600)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_failed_atomic_write_keeps_the_old_content(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    target.mkdir()
    with pytest.raises(OSError, match="folder"):
        fsio.write_atomic(target, b"data")
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with fsio.new_folder(tmp_path / "whole") as draft:
        (draft / "a").write_text("1", "utf-8")
        assert not (tmp_path / "whole").exists()
    assert (tmp_path / "whole" / "a").read_text("utf-8") == "1"
    with pytest.raises(RuntimeError), fsio.new_folder(tmp_path / "never"):
        raise RuntimeError
    assert [entry.name for entry in tmp_path.iterdir()] == ["whole"]


def test_a_link_can_be_pointed_at_something_else(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        fsio.point_at(tmp_path / "newest", tmp_path / name)
        assert (tmp_path / "newest").resolve() == (tmp_path / name).resolve()


def test_a_link_that_a_power_cut_left_half_made_is_not_left_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object) -> None:
        raise OSError("no power")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="no power"):
        patched.setattr(fsio.os, "replace", cut)
        fsio.point_at(tmp_path / "newest", tmp_path / "job")
    assert len(list(tmp_path.iterdir())) == 1
    fsio.point_at(tmp_path / "newest", tmp_path / "job")
    assert [entry.name for entry in tmp_path.iterdir()] == ["newest"]


def test_several_can_point_the_same_link_at_the_same_thing(tmp_path: Path) -> None:
    (tmp_path / "job").mkdir()
    links = [tmp_path / f"name{number}" for number in range(300)]

    def point_all() -> None:
        for link in links:
            fsio.point_at(link, tmp_path / "job")

    with ThreadPoolExecutor(4) as pool:
        for made in [pool.submit(point_all) for _ in range(4)]:
            made.result()
    assert {link.resolve() for link in links} == {tmp_path / "job"}
    assert len(list(tmp_path.iterdir())) == len(links) + 1


def test_a_link_in_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fsio.point_at(tmp_path / "gone" / "name", tmp_path / "job")


def test_renaming_what_is_gone_says_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        fsio.rename(tmp_path / "gone", tmp_path / "target")


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """A place for what pytest could not remove: of any later session it would end the cleaning up."""
    yield tmp_path / "deep"
    subprocess.run(["rm", "-rf", str(tmp_path / "deep")], check=True)


def test_a_tree_deeper_than_any_path_can_name_is_removed(deep: Path) -> None:
    top = deep
    top.mkdir()
    level = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("a" * 60, dir_fd=level)
        inner = os.open("a" * 60, os.O_RDONLY, dir_fd=level)
        os.close(level)
        level = inner
    os.close(level)
    fsio.remove_tree(top)
    assert not top.exists()
    fsio.remove_tree(top)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A file in a folder of somebody else's."""
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "file").touch()
    return folder / "file"


def test_removing_a_tree_follows_no_links(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "gone").mkdir()
    (tmp_path / "gone" / "link").symlink_to(kept.parent)
    fsio.remove_tree(tmp_path / "gone")
    assert kept.exists()


def test_what_is_a_link_itself_is_removed_and_not_followed(tmp_path: Path, kept: Path) -> None:
    (tmp_path / "link").symlink_to(kept.parent)
    fsio.remove_tree(tmp_path / "link")
    assert kept.exists()
    assert not (tmp_path / "link").is_symlink()


def test_a_folder_that_becomes_a_link_while_it_is_removed_is_not_followed(
    tmp_path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the quick way has failed, and everything is lifted to the top first."""
    top = tmp_path / "gone"
    for place in ("one/two", "three"):
        (top / place).mkdir(parents=True)

    def swapped(_: Path) -> None:
        (top / "three").rmdir()
        (top / "three").symlink_to(kept.parent)
        raise RecursionError

    monkeypatch.setattr(fsio.shutil, "rmtree", swapped)
    fsio.remove_tree(top)
    assert kept.exists()
    assert not top.exists()


def test_a_folder_is_not_made_where_the_one_it_is_to_lie_in_is_gone(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), fsio.new_folder(tmp_path / "unmounted" / "results" / "job"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_tree_that_two_remove_at_once_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    top = tmp_path / "top"
    for number in range(5):
        (top / f"inner{number}").mkdir(parents=True)
        (top / f"inner{number}" / "file").touch()
    rmtree, others = shutil.rmtree, iter([True])

    def raced(folder: Path) -> None:
        if next(others, False):
            rmtree(top / "inner3")
            raise FileNotFoundError(2, "gone", str(top / "inner3"))
        rmtree(folder)

    monkeypatch.setattr(fsio.shutil, "rmtree", raced)
    fsio.remove_tree(top)
    assert not top.exists()
