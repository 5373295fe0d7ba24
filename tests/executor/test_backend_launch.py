"""What is launched where, with stand-ins for PyCUDA and for a compiled Triton kernel: no GPU is needed to decide it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import triton

from daemon.executor.backends import _cuda_launch, multi_kernel
from daemon.executor.backends._cuda_arguments import Packer
from daemon.executor.backends._cuda_limits import Launch
from daemon.executor.backends._cuda_probe import Parameter
from daemon.executor.backends._primary_context import share_primary_context
from daemon.executor.backends._triton_binding import Binding
from daemon.executor.backends._triton_launch import GpuLaunch
from daemon.executor.source import KernelFault, Source

SOURCE = Source(Path("/b/kernel.py"), Path("/b"), Path("/a"), "candidate", "cuda", {}, architecture="9.0")


class PycudaError(Exception):
    """PyCUDA's Error."""


class PycudaMemoryError(PycudaError):
    """PyCUDA's MemoryError."""


class Function:
    """PyCUDA's Function, which remembers its launches."""

    def __init__(self) -> None:
        self.launches: list[tuple[Any, ...]] = []
        self.fails: Exception | None = None

    def prepare(self, types: list[Any]) -> None:
        self.format = [f"{kind.char}{kind.itemsize}" for kind in types]

    def prepared_async_call(self, grid: Any, block: Any, stream: Any, *args: Any, shared_size: int) -> None:
        if self.fails is not None:
            raise self.fails
        self.launches.append((grid, block, stream, args, shared_size))


def test_a_launch_goes_to_torchs_current_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    own = SimpleNamespace(handle=77)
    driver = SimpleNamespace(Stream=lambda: own, Error=PycudaError, MemoryError=PycudaMemoryError)
    current = SimpleNamespace(cuda_stream=0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda: current)
    monkeypatch.setattr(torch.cuda, "ExternalStream", lambda handle: ("external", handle))
    function = Function()
    packer = Packer("k", [Parameter("int", 4)], [{"name": "n", "type": "int"}])
    launch = Launch.of({"grid": [4, 1, 1], "block": [64], "shared_mem": 16})
    prepared = _cuda_launch._prepared(driver, function, launch, packer, {})
    assert prepared.stream == ("external", 77)
    assert function.format == ["V4"]
    prepared.call(3)
    current.cuda_stream = 77
    prepared.call(5)
    expected = [((4, 1, 1), (64, 1, 1), stream, (bytes([n, 0, 0, 0]),), 16) for stream, n in ((None, 3), (own, 5))]
    assert function.launches == expected
    current.cuda_stream = 78
    with pytest.raises(KernelFault) as caught:
        prepared.call(5)
    assert caught.value.verdict == "harness_error"
    current.cuda_stream = 0
    for fails, verdict in (
        (PycudaError("invalid argument"), "runtime_error"),
        (PycudaMemoryError("full"), "out_of_memory"),
    ):
        function.fails = fails
        with pytest.raises(KernelFault, match="grid") as caught:
            prepared.call(5)
        assert caught.value.verdict == verdict


@pytest.fixture
def no_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("init", "synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)


@pytest.mark.usefixtures("no_device")
def test_pycudas_autoinit_is_answered_with_the_primary_context(monkeypatch: pytest.MonkeyPatch) -> None:
    package, primary, driver = ModuleType("pycuda"), ModuleType("pycuda.autoprimaryctx"), ModuleType("pycuda.driver")
    for module in (package, primary, driver):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "pycuda.autoinit", ModuleType("another context"))
    assert share_primary_context() is driver
    assert sys.modules["pycuda.autoinit"] is primary


@pytest.mark.usefixtures("no_device")
def test_without_pycuda_the_message_says_what_to_install_and_multi_kernels_still_load(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pycuda.autoprimaryctx", None)
    with pytest.raises(KernelFault, match=r"pip install 'evald\[gpu\]'") as caught:
        share_primary_context()
    assert caught.value.verdict == "unsupported"
    monkeypatch.setattr(multi_kernel, "has_pycuda", lambda: True)
    (tmp_path / "kernel.py").write_text("def main(x):\n    return x\n")
    source = Source(tmp_path / "kernel.py", tmp_path, tmp_path / "a", "candidate", "cuda", {"entry_point": "main"})
    assert multi_kernel.load(source).call(3) == 3


class Tuned(triton.runtime.autotuner.Autotuner):  # type: ignore[misc]
    """Stands for an autotuned kernel that adds one to its first argument, many times while it tunes."""

    def __init__(self) -> None:
        self.configs = [triton.Config({"BLOCK": 64}), triton.Config({"BLOCK": 128}, num_warps=8)]
        self.fn = None
        self.calls = 0

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def launch(x: torch.Tensor) -> Any:
            times = 1 if self.calls else 7
            self.calls += 1
            x.add_(times)
            self.best_config = self.configs[1]
            metadata = SimpleNamespace(shared=512, num_warps=8, num_stages=3)
            return SimpleNamespace(metadata=metadata, n_regs=40, n_spills=0)

        return launch


@pytest.mark.usefixtures("no_device")
def test_tuning_happens_on_copies_and_its_choice_is_reported() -> None:
    kernel = Tuned()
    launch = GpuLaunch(kernel, (1,), Binding((0,), (), True), {}, SOURCE)
    assert launch.report() == {}
    x = torch.zeros(3)
    launch(x)
    launch(x)
    assert x.tolist() == [2, 2, 2]
    assert kernel.calls == 3
    resources = {"registers": 40, "spills": 0, "shared_bytes": 512, "num_warps": 8, "num_stages": 3}
    config = {"BLOCK": 128, "num_warps": 8, "num_stages": 3}
    assert launch.report() == {"config": config, "resources": resources}
