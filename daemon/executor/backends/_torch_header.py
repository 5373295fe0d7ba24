"""Makes the precompiled header of <torch/extension.h>, in a cell that no bundle ever sees.

Which flags torch compiles an extension with differs by version and device, so torch is asked: it builds an empty
extension with a compiler that only writes down how it was called.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from torch.utils import cpp_extension

from daemon.executor.shared.compiler_wrapper import HEADER, shared_flags
from daemon.executor.source import KernelFault

_RECORDER = """#!/bin/sh
case " $* " in *" -c "*) printf '%s\\n' "$@" > {record}; exit 1;; esac
exec {compiler} "$@"
"""


def precompile(text: str, level: str, *, with_cuda: bool, header_fd: int, manifest_fd: int) -> None:
    """Write what `text` becomes to `header_fd`, and the JSON of its flags and of all files it was made from to
    `manifest_fd`. `level`: an optimization flag, empty for none. Raises `KernelFault` where no such header can be had
    here."""
    folder = Path(os.environ["TMPDIR"]) / "header"
    folder.mkdir()
    compiler = shutil.which("c++")
    if compiler is None or not _is_gcc(compiler):
        raise KernelFault("unsupported", "the C++ compiler is not GCC")
    flags = _flags(folder, compiler, level, with_cuda=with_cuda)
    source, found = folder / "extension.h", folder / "found.d"
    source.write_text(text)
    output = f"/proc/self/fd/{header_fd}"
    _run([compiler, *flags, "-MD", "-MF", str(found), "-x", "c++-header", str(source), "-o", output], header_fd)
    _require_valid(folder, compiler, flags, header_fd)
    files = [name for name in _dependencies(found.read_text()) if not name.startswith(str(folder))]
    _write(manifest_fd, json.dumps({"flags": flags, "files": files}).encode())


def _is_gcc(compiler: str) -> bool:
    done = subprocess.run([compiler, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=False)
    macros = done.stdout.split()
    return "__GNUC__" in macros and "__clang__" not in macros and "__INTEL_COMPILER" not in macros


def _flags(folder: Path, compiler: str, level: str, *, with_cuda: bool) -> list[str]:
    """What torch passes to the compiler for every C++ file of an extension."""
    record = folder / "record"
    recorder = folder / "bin" / "c++"
    recorder.parent.mkdir()
    recorder.write_text(_RECORDER.format(record=record, compiler=compiler))
    recorder.chmod(0o755)
    path = os.environ["PATH"]
    os.environ["PATH"] = f"{recorder.parent}:{path}"
    try:
        load_inline: Any = cpp_extension.load_inline  # untyped
        load_inline("evald_header", "", extra_cflags=[level], with_cuda=with_cuda)
    except RuntimeError:  # as the recorder wants it
        pass
    finally:
        os.environ["PATH"] = path
    known = shared_flags(record.read_text().splitlines()) if record.exists() else None
    if known is None:
        raise KernelFault("unsupported", "torch does not compile extensions in a way that is known here")
    return known[0]


def _require_valid(folder: Path, compiler: str, flags: list[str], header_fd: int) -> None:
    """The compiler must take the header for an extension as it will be: with a name, from another folder."""
    place = folder / "check"
    header = place / HEADER
    header.parent.mkdir(parents=True)
    header.symlink_to(f"/proc/self/fd/{header_fd}")
    source = folder / "main.cpp"
    source.write_text("#include <torch/extension.h>\n")
    strict = ["-Winvalid-pch", "-Werror=invalid-pch", "-DTORCH_EXTENSION_NAME=evald_header"]
    _run([compiler, "-isystem", str(place), *strict, *flags, "-fsyntax-only", str(source)], header_fd)


def _run(command: list[str], header_fd: int) -> None:
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, pass_fds=(header_fd,)
    )
    if done.returncode:
        raise KernelFault("compile_error", f"exit code {done.returncode}: {done.stderr.strip()[:2000]}")


def _dependencies(rule: str) -> list[str]:
    """The files of a make rule as `-MD` writes it."""
    words = rule.partition(":")[2].replace("\\\n", " ").replace("\\ ", "\0").split()
    return [word.replace("\0", " ") for word in words]


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
