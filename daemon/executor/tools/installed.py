"""Where the tools of this host are, and what of the host a cell must see to start one. No torch."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from daemon.executor.host.toolkit import toolkit

_FOLDERS = ("/usr/local/cuda/bin", "/opt/nvidia/nsight-compute")
_NSIGHT = Path("/opt/nvidia")  # the ncu of a toolkit may be a script that starts the one that lies here


def find(name: str) -> Path | None:
    """The program `name` (`ncu`, `compute-sanitizer`), links resolved: on the path, else in the CUDA toolkit or
    where NVIDIA's packages put it. None: it is not installed."""
    home = toolkit()
    of_toolkit = [str(home / "bin")] if home else []
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *of_toolkit, *_FOLDERS, *_newest_first()])
    found = shutil.which(name, path=path)
    return Path(found).resolve() if found else None


def _newest_first() -> list[str]:
    """Folders of Nsight Compute as its own packages install it: one per version."""
    root = Path(_FOLDERS[1])
    return sorted((str(folder) for folder in root.iterdir() if folder.is_dir()), reverse=True) if root.is_dir() else []


def folders(program: Path) -> tuple[Path, ...]:
    """What a cell must see beside `/usr` to run `program`: the folder it lies in, which holds its libraries and
    sections too (of `target/CHIP/ncu` the one above `target`)."""
    home = program.parent
    if "target" in home.parts:
        home = Path(*home.parts[: home.parts.index("target")])
    wanted = [home] if not home.is_relative_to("/usr") else []
    return tuple(folder for folder in (*wanted, _NSIGHT) if folder.is_dir())
