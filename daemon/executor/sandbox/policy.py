"""What one cell may see and use, as data. Nothing here touches the system."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

import daemon

OVERFLOW_UID = 65534


@dataclass(frozen=True)
class CellLimits:
    """Resource limits of one cell. Sizes in bytes, `cpu_cores` in cores (None: all)."""

    memory_bytes: int
    processes: int
    open_files: int
    file_bytes: int
    tmp_bytes: int
    tmp_inodes: int
    cpu_cores: float | None = None
    cpu_s: int = 3600


@dataclass(frozen=True)
class Policy:
    """One cell: its uid on the host, the folders it may read, its environment, its limits."""

    uid: int
    read_only: tuple[Path, ...]
    environment: dict[str, str]
    limits: CellLimits
    hostname: str = "cell"
    writable_tmpfs: tuple[str, ...] = field(default=("/tmp", "/dev/shm"))  # noqa: S108 - paths inside the cell


def readable_folders(extra: tuple[Path, ...] = ()) -> tuple[Path, ...]:
    """What a Python cell needs: the system's programs and libraries, the interpreter, its environment, and this
    package."""
    system = [Path("/usr"), Path("/etc/ld.so.cache"), Path("/etc/alternatives"), Path("/etc/localtime")]
    system += [Path("/sys/devices/system")]
    interpreter = [Path(sys.base_prefix), Path(sys.prefix), Path(daemon.__file__).parent]
    interpreter += [Path(os.path.realpath(sys.executable)).parent.parent]
    folders = [folder for folder in (*system, *interpreter, *extra) if folder.exists()]
    return tuple(_without_nested(folders))


def _without_nested(folders: list[Path]) -> list[Path]:
    """Drop folders that lie inside another one of the list: one bind is enough. Keeps the order."""
    kept: list[Path] = []
    for folder in dict.fromkeys(folders):
        if not any(folder != other and folder.is_relative_to(other) for other in folders):
            kept.append(folder)
    return kept


def cell_environment(*, threads: int, interpret: bool) -> dict[str, str]:
    """The whole environment of a cell, built from nothing. `interpret` makes Triton run without a GPU."""
    environment = {
        "PATH": "/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": "/tmp/home",  # noqa: S108 - inside the cell
        "TMPDIR": "/tmp",  # noqa: S108
        "LANG": "C.UTF-8",
        "USER": "cell",
        "TORCH_EXTENSIONS_DIR": "/tmp/torch_extensions",  # noqa: S108
        "TRITON_CACHE_DIR": "/tmp/triton",  # noqa: S108
        "TORCHINDUCTOR_CACHE_DIR": "/tmp/inductor",  # noqa: S108
        "OMP_NUM_THREADS": str(threads),
        "MAX_JOBS": str(threads),
        # Memory once touched stays with the process: otherwise a kernel pays page faults for every fresh output, and
        # one whose constructor had allocated and freed would not (seen: 1.6 times between identical kernels).
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(2**62),
    }
    if interpret:
        environment["TRITON_INTERPRET"] = "1"
    scripts = str(Path(sys.executable).parent)  # ninja lives beside the interpreter
    environment["PATH"] = f"{scripts}:{environment['PATH']}"
    return environment
