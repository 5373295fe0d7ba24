"""How `torch_cuda` judges an import in a build cell that has no GPU, on a host that has one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from daemon.executor.backends import _build_import, torch_cuda
from daemon.executor.backends import torch as torch_backend
from daemon.executor.backends._compiler_log import first_error_first
from daemon.executor.source import KernelFault, Source

MODEL = "class Model(nn.Module):\n    def forward(self, x):\n        return x\n"
# Without a header: torch's takes half a minute to read, before the compiler comes to what is wrong.
WRONG_EXTENSION = """
from torch.utils.cpp_extension import load_inline
code = "float same(float x) {\\n  int one = 1;\\n  return y;\\n}"
extension = load_inline(name="same_ext", cpp_sources=code, no_implicit_headers=True)
"""


@pytest.fixture(autouse=True)
def _own_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The backend answers for the GPU in this process; put torch back afterwards."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path / "extensions"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")  # ninja, as cells have it
    for name in ("is_available", "device_count", "current_device", "get_device_capability"):
        monkeypatch.setattr(torch.cuda, name, getattr(torch.cuda, name))
    yield


def source_of(tmp_path: Path, text: str, device: str = "cuda") -> Source:
    path = tmp_path / "bundle" / "kernel.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    architecture = "9.0" if device == "cuda" else ""
    return Source(path, path.parent, tmp_path / "artifacts", "candidate", device, {}, architecture=architecture)


@pytest.mark.parametrize(
    "line",
    [
        "table = torch.zeros(4, device='cuda')",
        "torch.cuda.synchronize()",
        "stream = torch.cuda.Stream()",
        "properties = torch.cuda.get_device_properties(0)",
        "raise ValueError('only on a GPU')",
        "try:\n    import nothing_like_this\nexcept ImportError:\n    torch.zeros(4, device='cuda')",
    ],
)
def test_an_import_that_wants_the_gpu_is_left_to_the_candidate_cell(tmp_path: Path, line: str) -> None:
    built = torch_cuda.build(source_of(tmp_path, f"{line}\n{MODEL}"))
    assert built["imported"] is False
    assert built["reason"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", "SyntaxError"),
        ("import nothing_like_this\n", "nothing_like_this"),
        (
            "try:\n    import nothing_like_this\nexcept ImportError as e:\n    raise ValueError('x') from e\n",
            "ValueError",
        ),
    ],
)
def test_what_no_gpu_could_heal_is_a_compile_error_at_once(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(KernelFault, match=words) as caught:
        torch_cuda.build(source_of(tmp_path, text))
    assert caught.value.verdict == "compile_error"


def test_without_a_gpu_on_the_host_every_failed_import_is_a_compile_error(tmp_path: Path) -> None:
    with pytest.raises(KernelFault, match="only here"):
        torch_cuda.build(source_of(tmp_path, "raise ValueError('only here')\n", device="cpu"))


def test_what_a_source_asks_about_the_gpu_before_compiling_is_answered(tmp_path: Path) -> None:
    text = """
assert torch.cuda.is_available() and torch.cuda.device_count() == 1
major, minor = torch.cuda.get_device_capability(torch.cuda.current_device())
assert (major, minor) == (9, 0)
"""
    assert torch_cuda.build(source_of(tmp_path, text + MODEL)) == {"imported": True, "precompiled_header": False}


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler on this machine")
def test_a_failed_extension_begins_with_the_compilers_first_error(tmp_path: Path) -> None:
    with pytest.raises(KernelFault) as caught:
        torch_cuda.build(source_of(tmp_path, f"import torch\n{WRONG_EXTENSION}{MODEL}"))
    assert caught.value.verdict == "compile_error"
    first = caught.value.message.splitlines()[0]
    assert first.startswith("the extension does not compile: main.cpp:"), first
    assert "error: " in first and "y" in first
    assert "kernel.py" in (caught.value.details or "")


@pytest.mark.parametrize(("device", "words"), [("cuda", "install the CUDA toolkit"), ("cpu", "needs a GPU")])
@pytest.mark.parametrize(
    "failure",
    [
        "raise OSError('CUDA_HOME environment variable is not set. Please set it to your CUDA install root.')\n",
        "import subprocess\nsaid = b'/bin/sh: 1: /usr/local/cuda/bin/nvcc: not found'\n"
        "raise RuntimeError('x') from subprocess.CalledProcessError(1, ['ninja'], said)\n",
    ],
)
def test_a_machine_without_nvcc_is_no_fault_of_an_extension(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str, device: str, words: str
) -> None:
    monkeypatch.setattr(_build_import, "nvcc", lambda: None)
    with pytest.raises(KernelFault, match=words) as caught:
        torch_cuda.load(source_of(tmp_path, failure, device=device))
    assert caught.value.verdict == "unsupported"
    assert not caught.value.final


def test_the_first_error_of_a_log_comes_first() -> None:
    log = "[1/2] nvcc -c cuda.cu\nFAILED: cuda.cuda.o\ncuda.cu(7): warning #177-D: unused\ncuda.cu(9): error: no y\n^\n"
    assert first_error_first(log) == "cuda.cu(9): error: no y\n^"
    assert first_error_first("ninja: fatal error: x\nrest") == "ninja: fatal error: x\nrest"
    assert first_error_first("nothing known\n") == "nothing known"
    assert first_error_first("") == ""
    full = first_error_first("/usr/include/x.h(1): catastrophic error: error while writing: No space left on device\n")
    assert "No space left on device (its /tmp may hold " in full


def test_an_error_chain_with_a_failed_compiler_is_final(tmp_path: Path) -> None:
    text = (
        "import subprocess\n"
        "try:\n    raise subprocess.CalledProcessError(1, ['ninja'], b'a.cu(3): error: x')\n"
        "except subprocess.CalledProcessError as e:\n    raise RuntimeError('Error building extension') from e\n"
    )
    with pytest.raises(KernelFault, match=r"a\.cu\(3\): error: x") as caught:
        torch_cuda.build(source_of(tmp_path, text))
    assert isinstance(caught.value.__cause__, KernelFault)
    assert subprocess.CalledProcessError.__name__ not in caught.value.message


@pytest.mark.parametrize("command", [["pip", "install", "einops"], "pip install einops"])
def test_another_program_that_fails_is_no_compiler(tmp_path: Path, command: object) -> None:
    text = f"import subprocess\nraise subprocess.CalledProcessError(1, {command!r})\n"
    for module in (torch_cuda, torch_backend):
        with pytest.raises(KernelFault, match=r"CalledProcessError while importing: Command .*pip") as caught:
            module.load(source_of(tmp_path, text, "cpu"))
        assert "(nothing can be installed here" in caught.value.message


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler on this machine")
def test_of_an_extension_that_a_torch_source_compiles_the_first_error_is_told_too(tmp_path: Path) -> None:
    with pytest.raises(KernelFault) as failed:
        torch_backend.load(source_of(tmp_path, f"{WRONG_EXTENSION}\n{MODEL}", "cpu"))
    first = failed.value.message.partition("\n")[0]
    assert first.startswith("the extension does not compile: main.cpp:"), first
    assert failed.value.verdict == "compile_error"
