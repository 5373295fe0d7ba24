"""What becomes of a source's own dtypes in the call for its exact answer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from daemon.executor.inside import subject
from daemon.executor.inside.unrounded import Unrounded
from daemon.executor.source import KernelFault

Call = Callable[[torch.Tensor], torch.Tensor]


@pytest.fixture(autouse=True)
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def thirds() -> torch.Tensor:
    return torch.arange(1.0, 17).reshape(4, 4) / 3


ROUNDS: dict[str, Call] = {
    "a method": lambda x: x.bfloat16(),
    "there and back": lambda x: x.half().float(),
    "a function's dtype": lambda x: torch.softmax(x, -1, dtype=torch.float32),
    "a sum's": lambda x: x.sum(-1, dtype=torch.float16),
    "another tensor's": lambda x: x.type_as(torch.zeros(1, dtype=torch.float16)),
    "a new tensor's": lambda x: torch.zeros(4, 4, dtype=torch.float32).add_(x),
    "in inference mode": torch.inference_mode()(lambda x: x.half()),
    "under autocast": torch.autocast("cpu", torch.bfloat16)(lambda x: x @ x),
    "a gradient": torch.enable_grad()(lambda x: torch.autograd.grad(x.requires_grad_().half().pow(2).sum(), x)[0]),
    "a layer": lambda x: nn.Linear(4, 4)(x.float()).bfloat16(),
}


@pytest.mark.parametrize("call", ROUNDS.values(), ids=ROUNDS)
def test_nothing_is_rounded(call: Call) -> None:
    with Unrounded():
        found = call(thirds())
    assert found.dtype is torch.float64
    assert not torch.equal(found, found.float().double())


def test_complex_numbers_stay_as_wide() -> None:
    with Unrounded():
        found = torch.fft.fft(thirds().float()).to(torch.complex64)
    assert found.dtype is torch.complex128


LEAVES: dict[str, Call] = {
    "float8": lambda x: x.to(torch.float8_e4m3fn).double(),
    "whole numbers": lambda x: (x * 100).to(torch.int8),
    "random numbers": lambda x: torch.rand(4, generator=torch.Generator().manual_seed(1), dtype=torch.float32),
    "bits": lambda x: torch.tensor([1 << 23], dtype=torch.int32).view(torch.float32),
}


@pytest.mark.parametrize("call", LEAVES.values(), ids=LEAVES)
def test_what_is_meant_to_be_another_number_is(call: Call) -> None:
    plain = call(thirds())
    with Unrounded():
        found = call(thirds())
    assert found.dtype is plain.dtype
    assert torch.equal(found, plain)


def test_torchs_compiler_is_not_imported_for_it() -> None:
    """That takes seconds, in the cell of every evaluation."""
    program = """
import sys, torch
from daemon.executor.inside.unrounded import Unrounded
with Unrounded():
    assert torch.ones(3).bfloat16().dtype is torch.float64
print("torch._dynamo" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"


@pytest.mark.parametrize(("took_s", "calls"), [(0.0, 2), (5.0, 1)])
def test_a_reference_that_fails_slowly_in_float64_is_not_run_twice(
    monkeypatch: pytest.MonkeyPatch, took_s: float, calls: int
) -> None:
    """The judge would stop waiting during the second call, and not learn why the first has failed."""
    clock_s = [0.0]
    monkeypatch.setattr(subject.time, "monotonic", lambda: clock_s[0])
    called = []

    def fails(*_: object, exact: bool) -> tuple[object, bool]:
        called.append(exact)
        clock_s[0] += took_s
        raise ValueError("no float64 here")

    judged = subject.Subject("cpu", Path("/nowhere"))
    judged.loaded = SimpleNamespace(call=None)  # type: ignore[assignment]
    with pytest.raises(KernelFault, match="no float64 here"):
        judged.exact_answer(SimpleNamespace(answer=fails))  # type: ignore[arg-type]
    assert called == [True] * calls
