"""What `make` says on a host without the system packages."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize("user", [1000, 0], ids=["somebody", "root"])
def test_lists_of_packages_are_fetched_before_one_is_installed_and_it_is_said(user: int, tmp_path: Path) -> None:
    """A fresh image has no lists: apt-get finds no package there."""
    programs = {"dpkg": "exit 1", "id": f"echo {user}", "apt-get": f'echo "$1" >> {tmp_path}/ran'}
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n", "ascii")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        ["make", "-C", str(ROOT), "system", "PACKAGES=one two"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if user:
        assert done.returncode == 2
        assert "type: sudo apt-get update && sudo apt-get install -y one two\n" in done.stderr
        assert not (tmp_path / "ran").exists()
    else:
        assert done.returncode == 0, done.stderr
        assert "installing system packages: one two\n" in done.stdout
        assert (tmp_path / "ran").read_text("ascii").split() == ["update", "install"]
