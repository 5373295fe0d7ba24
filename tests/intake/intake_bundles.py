"""Small sound bundles for the tests of the intake room, in every form."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Literal

CONTRACT = {"kernel": {"kernel_type": "torch", "source_file": "kernel.py"}, "num_trials": 3}
SOURCE = "class Model: pass\n"


def write_bundle(folder: Path, source: str = SOURCE) -> Path:
    """A bundle as a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "contract.json").write_text(json.dumps(CONTRACT))
    (folder / "kernel.py").write_text(source)
    return folder


def write_tar(path: Path, members: dict[str, bytes], mode: Literal["w", "w:gz"] = "w:gz") -> Path:
    """A tar of plain files under exactly these names."""
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    """A zip of plain files under exactly these names."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in members.items():
            info = zipfile.ZipInfo("x")
            info.filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(info, content)
    return path


def bundle_members(prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}contract.json": json.dumps(CONTRACT).encode(), f"{prefix}kernel.py": SOURCE.encode()}
