from __future__ import annotations

from pathlib import Path

import pytest

from daemon.contract import KernelTypeSpec
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path, tmp_path / "inbox", tmp_path / "results", tmp_path / "state")
    made.create()
    return made


@pytest.fixture
def torch_type() -> dict[str, KernelTypeSpec]:
    return {"torch": KernelTypeSpec("torch", metadata_keys=("class_name", "method_name", "function_name"))}


@pytest.fixture
def spool(paths: Paths) -> Spool:
    return Spool(paths, Owner("node-1.example", "0123456789abcdef", 42))
