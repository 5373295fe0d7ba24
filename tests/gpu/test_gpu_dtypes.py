"""What the judge does with tensors on a GPU, in every dtype: torch lacks much there that it has on a CPU."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.contract import DTYPES, InitKind, InitSpec, TensorSpec
from daemon.executor.cases.numerics import spread_of
from daemon.executor.cases.trivial import weak_controls
from daemon.executor.cases.verify import compare, describe, tolerance_for
from daemon.executor.content.inputs import Secret, draw

pytestmark = [pytest.mark.gpu, pytest.mark.parametrize("dtype", [*DTYPES])]
COUNT = 40_000  # more than the sample of a look at nearly all elements


def _varied(dtype: str) -> torch.Tensor:
    """Numbers that no trivial answer gets right."""
    return (torch.arange(COUNT, device="cuda") * 37 % 101 % (2 if dtype == "bool" else 101)).to(getattr(torch, dtype))


def _rolled(tensor: torch.Tensor) -> torch.Tensor:
    return torch.cat([tensor[1:], tensor[:1]])


@pytest.mark.parametrize("kind", [*InitKind])
def test_inputs_are_drawn(dtype: str, kind: InitKind) -> None:
    wanted: dict[str, Any] = {"kind": kind} | ({"fill_value": 1} if kind is InitKind.FULL else {})
    ends = 8 if kind is InitKind.ARANGE else 100
    if kind is InitKind.ARANGE and dtype == "bool":
        ends = 2
    spec = TensorSpec(shape=(3, ends), dtype=dtype, init=InitSpec(**wanted))
    drawn = draw(spec, Secret("cuda").generator("a test"))
    assert (drawn.device.type, drawn.dtype, tuple(drawn.shape)) == ("cuda", getattr(torch, dtype), (3, ends))
    assert compare(drawn.clone(), drawn, tolerance_for(dtype, None, None)).wrong == 0


def test_an_element_that_differs_is_found_and_told(dtype: str) -> None:
    expected, tolerance = _varied(dtype), tolerance_for(dtype, None, None)
    got = expected.clone()
    got[1002] = 0  # of 7, or of True
    difference = compare(got, expected, tolerance)
    assert (difference.wrong, difference.worst) == (1, (1002,)), difference
    assert "output[1002]: got " in describe("output", difference, COUNT, tolerance)
    assert spread_of([got], [expected]).differing_elements >= 1


def test_trivial_answers_are_tried(dtype: str) -> None:
    expected, tolerance = _varied(dtype), tolerance_for(dtype, None, None)
    inputs = [torch.rand(COUNT, device="cuda"), _rolled(expected)]
    for answer, earlier, found in (
        (expected, _rolled(expected), []),
        (expected, expected.clone(), ["out: an earlier answer"]),
        (torch.zeros_like(expected), expected, ["out: a constant or zeros"]),
    ):
        side: Any = SimpleNamespace(answers=lambda _, answer=answer: [("out", answer)])
        assert weak_controls(side, [tolerance], inputs, [earlier]) == found
