"""Where the CUDA toolkit's parts are on this machine: NVRTC, nvcc, and the headers that belong to them.

They come with a toolkit (`/usr/local/cuda`) or with the wheels a CUDA build of torch depends on, which lie below
`nvidia/` on the module path: all in `nvidia/cu13` since CUDA 13, a folder for each part before.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
from pathlib import Path


class CompilerRefused(Exception):  # noqa: N818 - the source was refused, nothing is broken here
    """The source does not compile; the text is what the compiler said."""


def nvrtc_library() -> Path | None:
    """The NVRTC library, the toolkit's before a wheel's; None where there is none."""
    places = [root / part for root in _roots() for part in ("lib64", "lib")]
    places += [folder / "nvidia" / "cuda_nvrtc" / "lib" for folder in _module_folders()]
    for place in places:
        found = sorted(place.glob("libnvrtc.so*"), key=lambda path: len(path.name))
        if found:
            return found[0]
    return None


def load_nvrtc(path: Path) -> ctypes.CDLL:
    """Open NVRTC. Its table of built-ins lies beside it and is opened first: NVRTC looks for it by name only."""
    for builtins in sorted(path.parent.glob("libnvrtc-builtins.so*")):
        ctypes.CDLL(str(builtins), ctypes.RTLD_GLOBAL)
    return ctypes.CDLL(str(path))


def nvcc() -> str | None:
    """The nvcc to start, or None."""
    if found := shutil.which("nvcc"):
        return found
    return next((str(root / "bin" / "nvcc") for root in _roots() if (root / "bin" / "nvcc").is_file()), None)


def include_folders() -> list[Path]:
    """Folders with `cuda_fp16.h`, `cooperative_groups.h`, `cuda/std/…`: those of the first place that has them."""
    candidates = [root / "include" for root in _roots()]
    candidates += [folder / "nvidia" / "cuda_runtime" / "include" for folder in _module_folders()]
    for folder in candidates:
        if (folder / "cuda_fp16.h").is_file():
            return [found for found in (folder, folder / "cccl") if found.is_dir()]
    return []


def _roots() -> list[Path]:
    named = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    roots = [Path(name) for name in named if name]
    return roots + [found for folder in _module_folders() for found in sorted((folder / "nvidia").glob("cu[0-9]*"))]


def _module_folders() -> list[Path]:
    return [Path(entry) for entry in sys.path if entry]
