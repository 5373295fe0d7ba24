"""Which kernels are compiled before they run, from which sources, and where the result comes from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from daemon.config import Settings
from daemon.contract import ArgSpec, KernelSpec
from daemon.executor.artifacts import headers
from daemon.executor.artifacts.build import Artifact, ArtifactCache, artifact_key, build, keep
from daemon.executor.artifacts.bundle import KernelFiles, Request, files_for, kernel_of
from daemon.executor.artifacts.headers import Headers
from daemon.executor.catalog import BackendSpec
from daemon.executor.cells.settings import pool_threads
from daemon.executor.cells.spares import Spares
from daemon.executor.cells.starting import Cells
from daemon.executor.host import compilers, environment
from daemon.executor.host.devices import Device
from daemon.executor.host.toolkit import toolkit, torch_nvcc
from daemon.executor.shared.protocol import Message
from daemon.verdict import Side

_CACHE_BYTES = 4 << 30


@dataclass(frozen=True)
class Builds:
    """The compile stage of one trusted process, for kernels that will run on `device`. `cells` do not have that device.
    What they build is kept in `cache`, under a key that names the `toolchain` too."""

    backends: Mapping[str, BackendSpec]
    device: Device
    cells: Spares
    cache: ArtifactCache
    headers: Headers
    toolchain: Mapping[str, str | None]
    limit_s: float

    @classmethod
    def of(
        cls,
        settings: Settings,
        device: Device,
        backends: Mapping[str, BackendSpec],
        cells: Cells,
        *,
        spare_cells: int = 0,
    ) -> Builds:
        """As `settings` say. Cells that `cells` starts are lent the precompiled headers, and so many of them stand
        ready (`Spares`). Imports torch."""
        found = compilers.find()
        toolchain = environment.toolchain() | found.versions
        shelf = headers.shelf_of(settings, found.cxx, toolchain)
        home = toolkit()
        toolchain |= {"PYTORCH_NVCC": None if home is None else torch_nvcc(home)}
        jobs = jobs_for(settings, device)
        lent = cells.having(replace(cells.settings, shelf=shelf, jobs=jobs))
        return cls(
            backends=backends,
            device=device,
            cells=Spares(lent, spare_cells),
            cache=ArtifactCache(settings.paths.cache, _CACHE_BYTES),
            headers=Headers(shelf, found.cxx, headers.roomy(lent), _CACHE_BYTES // 2),
            toolchain=toolchain,
            limit_s=settings.deadlines.build_s,
        )

    def are_needed(self, request: Request, side: Side) -> bool:
        """Whether a kernel of this type is compiled before it is loaded."""
        return self.device.kind in self._backend(request, side).build

    def artifact(self, request: Request, side: Side, bundle_dir: Path) -> Artifact:
        """From the cache, or built now; with a `refusal` where the compiler does not take the sources. Raises
        `CellFailed` for every other end of a build, `HarnessError` when no cell starts."""
        files, message = self.sources(request, side, bundle_dir)
        key = artifact_key(message, files, self.toolchain)
        if (cached := self.cache.get(key)) is not None:
            return cached
        if helped := self._backend(request, side).precompiled_header:
            self.headers.prepare()
        artifact = keep(self.cache, key, lambda: build(self.cells, side, message, files, deadline_s=self.limit_s))
        if helped:
            self.headers.heard(artifact.describe)
        return artifact

    def sources(self, request: Request, side: Side, bundle_dir: Path) -> tuple[KernelFiles, Message]:
        """The files for one side's cell and the message that explains them."""
        kernel = kernel_of(request, side)
        suffix = ".py" if self._backend(request, side).contract.is_python else ".cu"
        files = files_for(request, side, bundle_dir, suffix=suffix)
        launch = kernel.io.launch if kernel.io else None
        requires = request.requires
        message: Message = {
            "kernel_type": kernel.kernel_type,
            "source_file": files.source_file,
            "files": files.listing,
            "metadata": _metadata(kernel),
            "side": str(side),
            "matmul_precision": str(request.matmul_precision),
            "device": self.device.kind,
            "architecture": self.device.architecture if self.device.is_gpu else "",
            "args": [_argument(arg) for arg in (kernel.io.args if kernel.io else ())],
            "launch": launch.model_dump(mode="json") if launch else {},
            "requires": requires.model_dump(mode="json", exclude_none=True) if requires else {},
        }
        return files, message

    def _backend(self, request: Request, side: Side) -> BackendSpec:
        return self.backends[kernel_of(request, side).kernel_type]


def jobs_for(settings: Settings, device: Device) -> int:
    """Files that a build cell compiles at a time: on a host with a GPU the C++ and the CUDA half of an extension side
    by side, wherever there is a second core."""
    cores = settings.sandbox.cpu_cores or len(os.sched_getaffinity(0))
    return max(pool_threads(settings), min(2, int(cores)) if device.is_gpu else 1)


def _argument(arg: ArgSpec) -> dict[str, Any]:
    """What a backend may know of one argument. Content stays with the judge."""
    spec = arg.tensor_spec
    shown: dict[str, Any] = {"name": arg.name, "is_meta": arg.is_meta, "type": str(arg.type)}
    if spec is not None:
        return shown | {"dtype": spec.dtype, "shape": list(spec.dims)}
    infinite = isinstance(arg.value, float) and not math.isfinite(arg.value)  # JSON has no word for it
    return shown | {"value": str(arg.value) if infinite else arg.value}


def _metadata(kernel: KernelSpec) -> dict[str, Any]:
    given = kernel.metadata.model_dump(mode="json", exclude_none=True)
    return {**given.pop("extra", {}), **given}
