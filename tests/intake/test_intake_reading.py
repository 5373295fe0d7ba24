from __future__ import annotations

import os
from pathlib import Path

import pytest
from intake_bundles import SOURCE, write_bundle

from daemon.config import Limits
from daemon.contract import KernelTypeSpec
from daemon.errors import BundleError
from daemon.intake import regular
from daemon.intake.reading import BundleFiles, read_bundle


def test_files_are_listed_by_relative_path_and_read_on_demand(tmp_path: Path) -> None:
    write_bundle(tmp_path / "b")
    write_bundle(tmp_path / "b" / "sub")
    files = BundleFiles(tmp_path / "b", 1000)
    assert sorted(files) == ["contract.json", "kernel.py", "sub/contract.json", "sub/kernel.py"]
    assert files["sub/kernel.py"] == SOURCE.encode()
    assert len(files) == 4
    assert "../b/kernel.py" not in files
    with pytest.raises(KeyError):
        files["../b/kernel.py"]


def test_a_file_beyond_the_cap_is_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(BundleError, match="more than 10 bytes"):
        BundleFiles(tmp_path, 10)["big"]


@pytest.mark.parametrize("name", ["Contract.json", "contract.jsn", "inner/contract.json"])
def test_a_missing_contract_suggests_the_nearest_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    (tmp_path / "kernel.py").write_text("x")
    with pytest.raises(BundleError) as caught:
        read_bundle(tmp_path, {}, Limits())
    assert caught.value.problems[0].suggestion == name


def test_a_sound_bundle_is_parsed_and_an_oversized_contract_is_not(
    tmp_path: Path, torch_type: dict[str, KernelTypeSpec]
) -> None:
    write_bundle(tmp_path)
    assert read_bundle(tmp_path, torch_type, Limits()) is not None
    with pytest.raises(BundleError, match=r"limits\.contract_bytes"):
        read_bundle(tmp_path, torch_type, Limits(contract_bytes=10))


def test_an_oversized_source_is_reported_by_its_name(tmp_path: Path, torch_type: dict[str, KernelTypeSpec]) -> None:
    write_bundle(tmp_path, "#" * 20)
    with pytest.raises(BundleError, match=r"kernel\.py"):
        read_bundle(tmp_path, torch_type, Limits(source_bytes=10))
    with pytest.raises(BundleError, match=r"kernel\.py: far too large"):
        read_bundle(tmp_path, torch_type, Limits(source_bytes=1))


@pytest.mark.parametrize("written", [b"", b"half of it"])
def test_a_read_that_would_block_is_an_error_and_not_the_end_of_the_file(written: bytes) -> None:
    """As a file server in a program of somebody's may answer. A pipe does, of what is no regular file."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(writing, written)
        with regular.stream_of(reading, closes=True) as stream, pytest.raises(BlockingIOError):
            stream.read(100)
    finally:
        os.close(writing)
