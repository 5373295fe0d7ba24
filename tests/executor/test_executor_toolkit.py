"""Which folder of a host is its CUDA toolkit, and that cells find it there."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.executor.host import compilers
from daemon.executor.host import toolkit as toolkits
from daemon.executor.host.toolkit import toolkit
from daemon.executor.tools import installed as tools


@pytest.fixture(autouse=True)
def _nothing_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CUDA_HOME", "CUDA_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(toolkits, "_USUAL", tmp_path / "usual")


def installed(folder: Path, headers: str | None = "include") -> Path:
    (folder / "bin").mkdir(parents=True)
    nvcc = folder / "bin" / "nvcc"
    nvcc.write_text("#!/bin/sh\n", "utf-8")
    nvcc.chmod(0o755)
    if headers is not None:
        (folder / headers).mkdir(parents=True)
        (folder / headers / "cuda_runtime.h").touch()
    return folder


def test_there_is_none_where_none_is_installed() -> None:
    assert toolkit() is None


@pytest.mark.parametrize("name", ["CUDA_HOME", "CUDA_PATH"])
def test_the_one_that_is_named_comes_before_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    installed(tmp_path / "usual")
    monkeypatch.setenv(name, str(installed(tmp_path / "named")))
    assert toolkit() == tmp_path / "named"


def test_the_usual_one_comes_before_whatever_is_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(installed(tmp_path / "other") / "bin"))
    assert toolkit() == tmp_path / "other"
    installed(tmp_path / "usual")
    assert toolkit() == tmp_path / "usual"


def test_a_link_on_the_path_leads_to_where_the_toolkit_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = installed(tmp_path / "cuda-13.0", headers="targets/sbsa-linux/include")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nvcc").symlink_to(real / "bin" / "nvcc")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert toolkit() == real


def test_cells_are_shown_a_folder_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cuda").symlink_to(installed(tmp_path / "cuda-13.0"))
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "cuda"))
    assert toolkit() == tmp_path / "cuda-13.0"


def test_a_home_with_a_program_of_that_name_is_shown_to_no_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(installed(tmp_path / "home", headers=None) / "bin"))
    assert toolkit() is None
    monkeypatch.setenv("CUDA_HOME", "/")
    monkeypatch.setattr(toolkits, "_HEADERS", ("etc/passwd",))
    assert toolkit() is None
    monkeypatch.setenv("CUDA_HOME", "relative")
    assert toolkit() is None


def test_what_a_cell_would_start_is_not_what_this_process_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_HOME", str(installed(tmp_path / "named")))
    assert compilers.program("nvcc") == tmp_path / "named" / "bin" / "nvcc"
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "c++").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path / "own"))
    assert compilers.program("c++") != tmp_path / "own" / "c++"


def test_its_tools_are_found_in_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster's module sets CUDA_HOME, and its compute-sanitizer is on nobody's path."""
    checker = installed(tmp_path / "named") / "bin" / "compute-sanitizer"
    checker.write_text("#!/bin/sh\n", "utf-8")
    checker.chmod(0o755)
    assert tools.find("compute-sanitizer") != checker
    monkeypatch.setenv("CUDA_HOME", str(tmp_path / "named"))
    assert tools.find("compute-sanitizer") == checker
