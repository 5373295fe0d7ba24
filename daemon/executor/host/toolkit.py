"""Where the CUDA toolkit of this host is: nvcc, its headers and libraries. No torch.

NVIDIA's packages put it in `/usr/local/cuda`, Debian's in `/usr`, a cluster's modules anywhere. Whoever has it in
another place, or has several, says which by CUDA_HOME, as to torch; a service gets that from its unit's `Environment=`.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from daemon.executor.shared import nvcc_wrapper

_NAMES = ("CUDA_HOME", "CUDA_PATH")
_USUAL = Path("/usr/local/cuda")
_HEADERS = ("include/cuda_runtime.h", "targets/*/include/cuda_runtime.h")


def toolkit() -> Path | None:
    """The folder with nvcc in its `bin`: the one that CUDA_HOME names, else the usual one, else that of the nvcc on the
    path. None where there is none. Cells are shown all of it."""
    places = (_as_cells_see(place) for place in _places() if place.is_absolute())
    return next((place for place in places if _is_toolkit(place)), None)


def torch_nvcc(home: Path) -> str:
    """What torch is to call in place of the nvcc of the toolkit in `home`: a command whose steps run side by side. A
    build is up to date only where torch would call the same command."""
    return shlex.join([sys.executable, "-I", "-S", "-B", nvcc_wrapper.__file__, str(home / "bin" / "nvcc")])


def _places() -> Iterator[Path]:
    """The places where it may be. The path is searched last, and only if needed, because every cell that starts
    asks."""
    yield from (Path(os.environ[name]) for name in _NAMES if os.environ.get(name))
    yield _USUAL
    if on_path := shutil.which("nvcc"):
        yield Path(on_path).resolve().parent.parent


def _as_cells_see(place: Path) -> Path:
    """The folder as cells see it: below `/usr` they see everything; of any other folder they get that one alone, at its
    own path."""
    return place if place.is_relative_to("/usr") else place.resolve()


def _is_toolkit(place: Path) -> bool:
    """Whether it has nvcc and its headers: a folder with some nvcc in its `bin` may be somebody's home. Never the root,
    which has one where `/bin` is a link."""
    has_headers = any(next(place.glob(name), None) for name in _HEADERS)
    return place != Path("/") and (place / "bin" / "nvcc").is_file() and has_headers
