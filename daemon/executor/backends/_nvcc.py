"""nvcc: CUDA C++ to a cubin through the whole toolkit. Slower than NVRTC, and it knows host headers."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from daemon.executor.backends._compiler_log import without_folders
from daemon.executor.backends._cuda_toolkit import CompilerRefused


def compile_cubin(
    nvcc: str, name: str, architecture: str, options: Sequence[str], folders: Sequence[Path], text: str
) -> tuple[bytes, str]:
    """The cubin of `text` (called `name` in messages) and the compiler's log. Raises `CompilerRefused`."""
    with tempfile.TemporaryDirectory() as scratch:
        unit, cubin = Path(scratch) / f"{Path(name).stem}.cu", Path(scratch) / "kernel.cubin"
        unit.write_text(text, "utf-8")
        places = [f"--include-path={folder}" for folder in folders]
        fixed = ["--cubin", f"--gpu-architecture={architecture}", "--ptxas-options=-v", "--expt-relaxed-constexpr"]
        argv = [nvcc, *dict.fromkeys([*fixed, *options, *places])]
        done = subprocess.run(
            [*argv, "--output-file", str(cubin), str(unit)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        log = without_folders(done.stdout + done.stderr, [Path(scratch), *folders]).strip()
        if done.returncode:
            raise CompilerRefused(log)
        return cubin.read_bytes(), log
