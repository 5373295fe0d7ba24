"""What a build cell made must be up to date in the cell that runs it: compiled twice, it would be on the GPU's time."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from executor_bundles import JudgeOne, evaluate, kernel

from daemon.executor.inside import packing
from daemon.verdict import Verdict

NINJA = Path(sys.executable).parent / "ninja"
RULES = """
rule compile
  command = c++ -MMD -MF $out.d -c $in -o $out
  depfile = $out.d
  deps = gcc
rule link
  command = c++ -shared $in -o $out
build part.o: compile part.cpp
build part.so: link part.o
"""


def restored(folder: Path) -> None:
    """`folder` packed and unpacked at the same place, as from one cell to another."""
    packed = packing.packed(folder)
    shutil.rmtree(folder)
    fd = os.memfd_create("packed")
    try:
        os.write(fd, packed)
        packing.unpack(folder, fd, len(packed))
    finally:
        os.close(fd)


@pytest.mark.parametrize("fraction_ns", [1, 512_036_085, 337_437_391, 999_999_999])
def test_ninja_finds_a_moved_build_up_to_date_whatever_its_time_stamps(tmp_path: Path, fraction_ns: int) -> None:
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "build.ninja").write_text(RULES)
    (folder / "part.cpp").write_text("int part() { return 1; }\n")
    subprocess.run([NINJA], cwd=folder, check=True, capture_output=True)
    for name in ("part.o", "part.so"):  # a moment that no float holds exactly, not later than ninja's own note of it
        moment_ns = (folder / name).stat().st_mtime_ns // 10**9 * 10**9 - 10**9 + fraction_ns
        os.utime(folder / name, ns=(moment_ns, moment_ns))
    os.utime(folder / "part.cpp", (10**9, 10**9))
    restored(folder)
    said = subprocess.run([NINJA, "-n"], cwd=folder, check=True, capture_output=True, text=True).stdout
    assert "no work to do" in said


def test_unpacked_files_are_never_younger_than_they_were(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    moments_ns = [1_795_627_138_512_036_085, 1_795_627_142_337_437_391, 1_795_627_142_563_216_447]
    for number, moment_ns in enumerate(moments_ns):
        (folder / str(number)).write_text("x")
        os.utime(folder / str(number), ns=(moment_ns, moment_ns))
    restored(folder)
    found = [(folder / str(number)).stat().st_mtime_ns for number in range(3)]
    assert all(now <= before for now, before in zip(found, moments_ns, strict=True))
    assert found == sorted(found)


def test_a_build_is_packed_by_the_python_of_debian_12(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(tarfile.TarInfo, "replace")
    (tmp_path / "extension.so").write_bytes(b"x")
    with tarfile.open(fileobj=io.BytesIO(packing.packed(tmp_path))) as archive:
        assert archive.getnames() == [".", "./extension.so"]


def test_a_build_of_many_files_is_packed_file_by_file(tmp_path: Path) -> None:
    """A deep copy of one entry copies the archive, and with it every entry before: that does not end."""
    folder = tmp_path / "files"
    folder.mkdir()
    for number in range(500):
        (folder / str(number)).write_text(str(number))
    restored(folder)
    assert {int(path.name) for path in folder.iterdir()} == set(range(500))


@pytest.mark.sandbox
def test_a_bundles_files_are_older_than_anything_built_from_them(judge: JudgeOne) -> None:
    source = """
    from pathlib import Path
    assert Path(__file__).stat().st_mtime == 10**9
    class Model(nn.Module):
        def forward(self, a):
            return a + 1
    def get_inputs():
        return [torch.randn(4)]
    """
    assert judge(evaluate(kernel(source))).verdict is Verdict.PASSED
