"""`cuda`: device code, compiled to a cubin by NVRTC or nvcc and launched through PyCUDA.

The build cell compiles and asks the compiler for the kernel's symbol and parameters (`_cuda_probe`); both travel with
the cubin. Where there is no GPU that is all that happens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from daemon.executor.backends import _nvcc, _nvrtc
from daemon.executor.backends._compiler_log import first_error_first, is_final
from daemon.executor.backends._cuda_arguments import Packer
from daemon.executor.backends._cuda_options import architecture, check
from daemon.executor.backends._cuda_probe import Interface, Parameter, read_interface, with_probe
from daemon.executor.backends._cuda_source import choose_kernel, find_kernels, no_such_kernel
from daemon.executor.backends._cuda_toolkit import CompilerRefused, nvcc, nvrtc_library
from daemon.executor.source import Kernel, KernelFault, Source

SPEC = {
    "io_required": True,
    "metadata_keys": ["kernel_name", "compiler_options", "backend", "name_expressions"],
    "metadata_aliases": {"compile_options": "compiler_options"},
    "python": False,
    "build": ["cpu", "cuda"],
    "answers": "args",
    "devices": ["cuda"],
}
_DEFAULT_CAPABILITY = "8.0"
_NO_HEADER = "cannot open source file"  # NVRTC's words
_OTHER_TARGET = re.compile(r"requires \.target|not supported on \.target")  # ptxas's words
_Compile = Callable[[str], tuple[bytes, str]]


def build(source: Source) -> dict[str, Any]:
    """Compile to a cubin in `source.artifacts`. Returns what is known of it; raises `KernelFault` with the compiler's
    words, or where the contract's arguments are not the kernel's."""
    expression = choose_kernel(source.text, source.metadata)
    target, compilers = _compilers(source)
    compiler, cubin, log, notes = _first_that_compiles(compilers, source, expression, target)
    try:
        interface = read_interface(cubin)
    except ValueError as error:
        raise KernelFault("compile_error", f"{compiler}: {expression}: {error}", details=log[:8000]) from error
    notes += Packer(expression, interface.parameters, source.args).notes
    built = {"kernel": expression, "architecture": target, "notes": notes, **asdict(interface)}
    source.artifacts.mkdir(parents=True, exist_ok=True)
    (source.artifacts / "kernel.cubin").write_bytes(cubin)
    (source.artifacts / "kernel.json").write_text(json.dumps(built), "utf-8")
    return {**built, "compiler": compiler, "log": log[-4096:]}


def load(source: Source) -> Kernel:
    """Load the cubin into the context torch uses. Raises `KernelFault`: `unsupported` without PyCUDA or a GPU,
    `compile_error` for a cubin this GPU does not take, `runtime_error` for a launch it cannot do."""
    if source.device != "cuda":
        raise KernelFault("unsupported", f"{source.path.name} needs a GPU to run")
    from daemon.executor.backends._cuda_launch import prepare

    built = json.loads((source.artifacts / "kernel.json").read_text("utf-8"))
    parameters = tuple(Parameter(**parameter) for parameter in built["parameters"])
    packer = Packer(built["kernel"], parameters, source.args)
    cubin = (source.artifacts / "kernel.cubin").read_bytes()
    try:
        launch = prepare(cubin, Interface(built["symbol"], parameters), packer, source, built)
    except KernelFault as fault:
        if fault.verdict != "runtime_error":
            raise
        return Kernel(partial(_refuse, fault))  # a launch that cannot work is the call's mistake, not the source's
    return Kernel(
        launch.call,
        describe={"kernel": built["kernel"], "architecture": built["architecture"]},
        notes=list(built["notes"]),
        report=lambda: {"resources": launch.resources},
        stream=launch.stream,
    )


def _refuse(fault: KernelFault, *_: Any) -> None:
    raise fault


def _compilers(source: Source) -> tuple[str, dict[str, _Compile]]:
    """The architecture to compile for, and the compilers to try, in order."""
    options = check(source.metadata.get("compiler_options") or (), source.folder)
    capability = source.architecture or str(source.requires.get("min_capability") or _DEFAULT_CAPABILITY)
    target = architecture(options, capability)
    folders = list(dict.fromkeys((source.path.parent, source.folder)))
    wanted = source.metadata.get("backend")
    found: dict[str, _Compile] = {}
    if wanted != "nvcc" and (library := nvrtc_library()) is not None:
        words = options.spelled("nvrtc")
        found["nvrtc"] = partial(_nvrtc.compile_cubin, library, source.path.name, target, words, folders)
    if wanted != "nvrtc" and (program := nvcc()) is not None:
        words = options.spelled("nvcc")
        found["nvcc"] = partial(_nvcc.compile_cubin, program, source.path.name, target, words, folders)
    if not found:
        missing = wanted or "nvcc or NVRTC"
        hint = "install the CUDA toolkit to compile `cuda` kernels"
        raise KernelFault("unsupported", f"no {missing} on this machine: {hint}")
    return target, found


def _first_that_compiles(
    compilers: dict[str, _Compile], source: Source, expression: str, target: str
) -> tuple[str, bytes, str, list[str]]:
    """The compiler's name, its cubin, its log, and why an earlier compiler was passed over. NVRTC has no host headers
    and takes no host code; nvcc has both."""
    notes: list[str] = []
    for name, compile_text in compilers.items():
        try:
            return name, *_compiled(compile_text, source.text, expression), notes
        except CompilerRefused as refusal:
            said = first_error_first(str(refusal))
            details = str(refusal)[:16_000]
            notes.append(f"{name} does not take this source: {said.partition(chr(10))[0][:300]}")
            final = is_final(str(refusal))
            first, newline, rest = said.partition("\n")
            if _NO_HEADER in first and nvcc() is None:
                first += " (headers of the host and some of the toolkit's come with nvcc: install the CUDA toolkit)"
            if _OTHER_TARGET.search(first):
                first += f' (compiled for {target}; "compiler_options": ["-arch=sm_90a"], for one, has wgmma)'
            fault = KernelFault("compile_error", f"{name}: {first}{newline}{rest}", details=details, final=final)
    raise fault


def _compiled(compile_text: _Compile, text: str, expression: str) -> tuple[bytes, str]:
    """The cubin of the source and its probe. If only the probe does not compile, the kernel's name is at fault."""
    try:
        return compile_text(with_probe(text, expression))
    except CompilerRefused as refusal:
        compile_text(text)
        raise no_such_kernel(expression, find_kernels(text), str(refusal)) from refusal
