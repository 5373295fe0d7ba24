"""What one cell may see and use, as data. Nothing here touches the system."""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import daemon

OVERFLOW_UID = 65534
UID_COUNT = 4000  # from `sandbox.uid_base` on: a thousand for each kind of cell
UIDS_PER_SLOT = 4  # cells of one kind and slot that are alive at the same time have not the same
_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})
_GPU_SYSTEM = (Path("/sys/bus/pci/devices"), Path("/sys/devices"), Path("/sys/module/nvidia"))


class UidStep(IntEnum):
    """Where the uids of one kind of cell begin, beyond `sandbox.uid_base`: `UIDS_PER_SLOT` for each slot or builder."""

    CANDIDATE = 0
    REFERENCE = 1000
    NULL = 2000
    BUILDER = 3000  # and the cell that `evald doctor` tries, which gets no bundle
    BUILD = 3300  # in a judge


@dataclass(frozen=True)
class CellLimits:
    """Resource limits of one cell. Sizes in bytes, `cpu_cores` in cores (None: all), `processors` by the numbers Linux
    gives them (none: all)."""

    memory_bytes: int
    processes: int
    open_files: int
    file_bytes: int
    tmp_bytes: int
    tmp_inodes: int
    cpu_cores: float | None = None
    background: bool = False  # only what nobody else wants of the processors
    processors: tuple[int, ...] = ()


@dataclass(frozen=True)
class Policy:
    """Cells of one kind: the uids on the host under which they may run (`uid_count` from `uid_base` on), the folders
    they may read, their environment, their limits, the device nodes they may use."""

    uid_base: int
    read_only: tuple[Path, ...]
    environment: dict[str, str]
    limits: CellLimits
    hostname: str = "cell"
    device_nodes: tuple[Path, ...] = ()
    writable_tmpfs: tuple[str, ...] = field(default=("/tmp", "/dev/shm"))  # noqa: S108 - paths inside the cell
    uid_count: int = UID_COUNT

    @property
    def visible_below_tmpfs(self) -> tuple[str, ...]:
        """What a cell may read below a folder that it may write: an environment that lies under /tmp."""
        found = [str(path) for path in self.read_only if any(path.is_relative_to(top) for top in self.writable_tmpfs)]
        return tuple(found)


def readable_folders(extra: tuple[Path, ...]) -> tuple[Path, ...]:
    """What a Python cell needs: the system's programs and libraries, the interpreter, its environment (which may
    borrow packages from another one), and this package."""
    system = [Path("/usr"), Path("/etc/ld.so.cache"), Path("/etc/alternatives"), Path("/etc/localtime")]
    system += [Path("/sys/devices/system")]
    interpreter = [Path(sys.base_prefix), Path(sys.prefix), Path(daemon.__file__).parent]
    interpreter += [Path(os.path.realpath(sys.executable)).parent.parent]
    interpreter += [Path(entry) for entry in sys.path if Path(entry).name in _PACKAGE_FOLDERS]
    folders = [folder for folder in (*system, *interpreter, *extra) if folder.exists()]
    return _without_nested(tuple(dict.fromkeys(folders)))


@functools.lru_cache(maxsize=16)
def _without_nested(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    """The folders without those that lie inside another one, in their order: one bind is enough. Kept, because every
    cell asks the same, and comparing paths takes 10 ms."""
    return tuple(
        folder for folder in folders if not any(folder != other and folder.is_relative_to(other) for other in folders)
    )


def gpu_folders() -> tuple[Path, ...]:
    """What the CUDA driver's library reads besides: where the GPU sits on the bus, and how memory is near it."""
    return tuple(folder for folder in _GPU_SYSTEM if folder.exists())


def cell_environment(*, threads: int, interpret: bool, toolkit: Path | None) -> dict[str, str]:
    """The whole environment of a cell, built from nothing. `interpret` makes Triton run without a GPU. `toolkit`: the
    CUDA toolkit's folder."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
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
    compilers = []
    if toolkit is not None:
        environment["CUDA_HOME"] = str(toolkit)
        compilers = [str(toolkit / "bin")]
    environment["PATH"] = ":".join([scripts, *compilers, environment["PATH"]])
    return environment


def gpu_environment(uuid: str | None, architecture: str) -> dict[str, str]:
    """What a cell needs to know of the GPU that it works for. `uuid` None: it builds for the GPU and cannot see it."""
    environment = {
        "CUDA_VISIBLE_DEVICES": uuid or "",
        "CUDA_CACHE_PATH": "/tmp/cuda",  # noqa: S108 - inside the cell
        "TORCH_CUDA_ARCH_LIST": architecture,
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # in its own process: a pool of compilers would outlive the call
        "PYTORCH_NVML_BASED_CUDA_CHECK": "0",
        # Queues for copies alone, kernels keep theirs: two contexts are made in 160 ms instead of 212.
        "CUDA_DEVICE_MAX_COPY_CONNECTIONS": "1",
    }
    if libraries := _library_path():
        environment["LD_LIBRARY_PATH"] = libraries
    return environment


def _library_path() -> str:
    """Where this host says its driver lies, as far as cells may look there."""
    entries = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    return os.pathsep.join(entry for entry in entries if entry.startswith("/usr/") and Path(entry).is_dir())
