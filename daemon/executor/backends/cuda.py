"""`cuda`: device code. Compiled here by nvcc or NVRTC to a cubin; running it needs a GPU."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from daemon.executor.source import Kernel, KernelFault, Source

SPEC = {
    "io_required": True,
    "metadata_keys": ["kernel_name", "compiler_options", "backend", "name_expressions"],
    "metadata_aliases": {"compile_options": "compiler_options"},
    "python": False,
    "build": True,
    "answers": "args",
    "devices": ["cuda"],
}
_DEFAULT_ARCHITECTURE = "sm_80"
_GLOBAL = re.compile(r"__global__\b[^;{]*?\b(\w+)\s*\(", re.DOTALL)
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_ALLOWED_OPTION = re.compile(
    r"-(std=c\+\+\d\d|D\w+(=[\w.+-]*)?|U\w+|I[\w./-]+|O[0-3]|lineinfo|G|-use_fast_math|use_fast_math"
    r"|-fmad=(true|false)|fmad=(true|false)"
    r"|-ftz=(true|false)|-prec-div=(true|false)|-prec-sqrt=(true|false)|-maxrregcount=\d+|maxrregcount=\d+"
    r"|-extra-device-vectorization|-expt-relaxed-constexpr|-extended-lambda|-gpu-architecture=\w+|arch=\w+)$"
)


def build(source: Source) -> dict[str, Any]:
    """Compile to a cubin in `source.artifacts`. Returns what is known of it; raises `KernelFault` with the compiler's
    words."""
    name = _kernel_name(source)
    options = _checked_options(source)
    source.artifacts.mkdir(parents=True, exist_ok=True)
    compiler = _choose(source.metadata.get("backend"))
    log = _with_nvcc(source, options) if compiler == "nvcc" else _with_nvrtc(source, options)
    return {"kernel": name, "compiler": compiler, "architecture": _architecture(source), "log": log[-4096:]}


def load(source: Source) -> Kernel:
    """Running device code needs a GPU, which this cell does not have."""
    raise KernelFault("unsupported", f"{source.path.name} needs a GPU to run")


def _kernel_name(source: Source) -> str:
    kernels = list(dict.fromkeys(_GLOBAL.findall(_COMMENT.sub("", source.text))))
    wanted = source.metadata.get("kernel_name")
    listed = ", ".join(kernels) or "none"
    if wanted:
        if re.split(r"[<:]", wanted)[0] not in kernels and wanted not in (
            source.metadata.get("name_expressions") or ()
        ):
            raise KernelFault("compile_error", f"no __global__ function {wanted!r} in the source; it has {listed}")
        return str(wanted)
    if len(kernels) != 1:
        raise KernelFault(
            "compile_error", f"set metadata.kernel_name: the source has these __global__ functions: {listed}"
        )
    return str(kernels[0])


def _checked_options(source: Source) -> list[str]:
    options = [str(option) for option in source.metadata.get("compiler_options") or ()]
    for option in options:
        if not _ALLOWED_OPTION.match(option) or ".." in option or option.startswith("-I/"):
            raise KernelFault("compile_error", f"compiler option {option!r} is not allowed")
    return options


def _architecture(source: Source) -> str:
    capability = source.requires.get("min_capability")
    return f"sm_{str(capability).replace('.', '')}" if capability else _DEFAULT_ARCHITECTURE


def _choose(wanted: str | None) -> str:
    """The compiler to use: the one asked for, or NVRTC, or nvcc, whichever is here."""
    found = {"nvrtc": _nvrtc_library() is not None, "nvcc": shutil.which("nvcc") is not None}
    if wanted and found[wanted]:
        return wanted
    for name, here in found.items():
        if here and not wanted:
            return name
    missing = wanted or "nvcc or NVRTC"
    raise KernelFault(
        "unsupported", f"no {missing} on this machine: install the CUDA toolkit to compile `cuda` kernels"
    )


def _with_nvcc(source: Source, options: list[str]) -> str:
    unit = source.path if source.path.suffix == ".cu" else source.artifacts / "kernel.cu"
    if unit != source.path:
        unit.write_text(source.text, "utf-8")
    argv = ["nvcc", "-cubin", f"-arch={_architecture(source)}", "-Xptxas", "-v", f"-I{source.folder}", *options]
    done = subprocess.run(
        [*argv, "-o", str(source.artifacts / "kernel.cubin"), str(unit)],
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    log = (done.stdout + done.stderr).replace(f"{source.folder}/", "").replace(f"{source.artifacts}/", "")
    if done.returncode:
        raise KernelFault("compile_error", f"nvcc: {log.strip()[:8000]}")
    return log


def _nvrtc_library() -> str | None:
    """Where NVRTC is: the toolkit's, or the one that comes with a CUDA build of torch."""
    if found := ctypes.util.find_library("nvrtc"):
        return found
    places = [Path("/usr/local/cuda/lib64")]
    places += [Path(path) / "nvidia" / "cuda_nvrtc" / "lib" for path in _site_folders()]
    for place in places:
        for library in sorted(place.glob("libnvrtc.so*")):
            return str(library)
    return None


def _site_folders() -> list[str]:
    import site

    return site.getsitepackages()


def _with_nvrtc(source: Source, options: list[str]) -> str:
    """nvrtcCreateProgram, nvrtcCompileProgram, nvrtcGetCUBIN (NVRTC user guide, "User Interface")."""
    nvrtc = ctypes.CDLL(_nvrtc_library())
    handle = ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(handle), source.text.encode(), source.path.name.encode(), 0, None, None)
    flags = [f"--gpu-architecture={_architecture(source)}", f"-I{source.folder}", *options]
    encoded = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    status = nvrtc.nvrtcCompileProgram(handle, len(flags), encoded)
    log = _nvrtc_bytes(nvrtc, handle, "ProgramLog").decode("utf-8", "replace").rstrip("\0")
    if status:
        raise KernelFault("compile_error", f"NVRTC: {log.strip()[:8000]}")
    (source.artifacts / "kernel.cubin").write_bytes(_nvrtc_bytes(nvrtc, handle, "CUBIN"))
    return log


def _nvrtc_bytes(nvrtc: ctypes.CDLL, handle: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    getattr(nvrtc, f"nvrtcGet{what}Size")(handle, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    getattr(nvrtc, f"nvrtcGet{what}")(handle, buffer)
    return buffer.raw
