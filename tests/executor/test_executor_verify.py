from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daemon.contract import DTYPES
from daemon.executor.cases import trivial
from daemon.executor.cases.trivial import passes_by_accident, weak_controls
from daemon.executor.cases.verify import Tolerance, compare, describe, tolerance_for

FLOATS = ["float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
INTEGERS = ["int64", "int32", "int16", "int8", "uint8", "uint16", "uint32", "uint64"]
EXACT = Tolerance(0.0, 0.0)


def of(dtype: str, values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).to(getattr(torch, dtype))


@pytest.mark.parametrize("dtype", [*DTYPES])
def test_equal_tensors_pass_in_every_dtype(dtype: str) -> None:
    tensor = torch.tensor([1, 0, 1, 1]).to(getattr(torch, dtype)).reshape(2, 2)
    difference = compare(tensor.clone(), tensor, tolerance_for(dtype, None, None))
    assert (difference.wrong, difference.max_abs, difference.worst) == (0, 0.0, None)


@pytest.mark.parametrize("dtype", [name for name in DTYPES if name != "bool"])
def test_a_difference_of_one_fails_in_every_dtype(dtype: str) -> None:
    expected = torch.ones(6).to(getattr(torch, dtype)).reshape(2, 3)
    got = torch.tensor([1, 1, 1, 1, 2, 1]).to(getattr(torch, dtype)).reshape(2, 3)
    difference = compare(got, expected, tolerance_for(dtype, None, None))
    assert difference.wrong == 1
    assert difference.worst == (1, 1)
    assert difference.max_abs == pytest.approx(1.0)


def test_booleans_are_exact() -> None:
    assert compare(torch.tensor([True, False]), torch.tensor([True, True]), EXACT).wrong == 1


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16", "float8_e5m2"])
@pytest.mark.parametrize(
    ("got", "expected", "wrong"),
    [
        (math.nan, math.nan, 0),
        (math.nan, 1.0, 1),
        (1.0, math.nan, 1),
        (math.inf, math.inf, 0),
        (math.inf, -math.inf, 1),
        (math.inf, 1.0, 1),
        (1.0, math.inf, 1),
        (0.0, -0.0, 0),
    ],
)
def test_what_is_not_finite_must_meet_its_like(dtype: str, got: float, expected: float, wrong: int) -> None:
    difference = compare(of(dtype, [got]), of(dtype, [expected]), Tolerance(0.5, 0.5))
    assert difference.wrong == wrong
    assert math.isfinite(difference.max_abs) and math.isfinite(difference.max_rel)


def test_a_tolerance_that_overflows_lets_no_nan_through() -> None:
    huge = Tolerance(1e308, 1e308)
    assert compare(of("float64", [math.nan]), of("float64", [1e10]), huge).wrong == 1
    assert compare(of("float64", [5.0]), of("float64", [1e10]), huge).wrong == 0


@pytest.mark.parametrize(
    ("dtype", "left", "right"),
    [
        (torch.int64, 2**63 - 1, 2**63 - 2),
        (torch.int64, -(2**63), 2**63 - 1),
        (torch.int64, 2**53, 2**53 + 1),
        (torch.int32, 2**31 - 1, -(2**31)),
    ],
)
def test_integers_at_the_edge_are_told_apart(dtype: torch.dtype, left: int, right: int) -> None:
    assert compare(torch.tensor([left], dtype=dtype), torch.tensor([right], dtype=dtype), EXACT).wrong == 1
    assert compare(torch.tensor([left], dtype=dtype), torch.tensor([left], dtype=dtype), EXACT).wrong == 0


def test_uint64_keeps_its_order_beyond_the_sign_bit() -> None:
    half = torch.tensor([-(2**63)]).view(torch.uint64)  # 2**63
    below = torch.tensor([2**63 - 1]).view(torch.uint64)
    assert compare(half, below, EXACT).max_abs == 1.0
    assert compare(half, below, Tolerance(1.0, 0.0)).wrong == 0
    zero = torch.zeros(1, dtype=torch.uint64)
    assert compare(half, zero, EXACT).max_abs == 2.0**63


def test_complex_numbers_are_compared_by_the_modulus_of_their_difference() -> None:
    expected = torch.tensor([3 + 4j, 1 + 0j], dtype=torch.complex64)
    got = torch.tensor([3 + 4j, 1 + 0.5j], dtype=torch.complex64)
    difference = compare(got, expected, Tolerance(0.1, 0.0))
    assert (difference.wrong, difference.worst) == (1, (1,))
    assert difference.max_abs == pytest.approx(0.5)
    large = torch.complex(torch.tensor([1.5e308], dtype=torch.float64), torch.tensor([1.5e308], dtype=torch.float64))
    assert compare(large / 2, large, Tolerance(0.0, 0.1)).wrong == 1
    assert compare(large, large, Tolerance(0.0, 0.1)).wrong == 0
    nan = torch.tensor([complex(math.nan, 0)], dtype=torch.complex64)
    assert compare(nan, torch.tensor([0j]), Tolerance(9.0, 9.0)).wrong == 1


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), st.floats(0, 1), st.floats(0, 1))
def test_it_agrees_with_allclose(values: list[float], atol: float, rtol: float) -> None:
    expected = torch.tensor(values, dtype=torch.float64)
    got = expected + torch.linspace(-1, 1, len(values), dtype=torch.float64)
    close = torch.isclose(got, expected, atol=atol, rtol=rtol)
    assert compare(got, expected, Tolerance(atol, rtol)).wrong == int((~close).sum())


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1, max_size=8),
    st.sampled_from([0.0, 1e-45, 1e-6, 1e-3, 1.0]),
    st.sampled_from([0.0, 1e-6, 1e-3, 1.0]),
    st.floats(0.0, 2.0),
)
def test_the_quick_look_accepts_nothing_that_the_close_one_refuses(
    values: list[float], atol: float, rtol: float, share: float
) -> None:
    """Errors of a share of their allowance, many of them just at it."""
    expected = torch.tensor(values, dtype=torch.float32)
    got = (expected.double() + share * (atol + rtol * expected.double().abs())).float()
    difference = compare(got, expected, Tolerance(atol, rtol))
    wide = compare(got.double(), expected.double(), Tolerance(atol, rtol))
    assert difference.wrong == wide.wrong
    assert difference.max_abs == pytest.approx(wide.max_abs, rel=1e-6)
    assert not trivial._is_beyond(got, expected, Tolerance(atol, rtol)) or wide.wrong


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "float8_e5m2"])
def test_what_is_surely_wrong_is_told_at_a_glance_and_no_more_than_that(dtype: str) -> None:
    expected, tolerance = of(dtype, [1.0, 2.0, 0.0]), tolerance_for(dtype, None, None)
    assert trivial._is_beyond(of(dtype, [1.0, 3.0, 0.0]), expected, tolerance)
    assert not trivial._is_beyond(expected.clone(), expected, tolerance)
    assert not trivial._is_beyond(of(dtype, [1.0, math.nan, 0.0]), expected, tolerance), "left to the close look"


@pytest.mark.parametrize(
    ("got", "expected", "tolerance"),
    [
        (0.1, 0.0, Tolerance(0.1, 0.0)),
        (3.3000002, 3.0, Tolerance(0.0, 0.1)),
        (2 * 2.0**-149, 2.0**-149, Tolerance(0.0, 0.6)),
    ],
    ids=["atol", "rtol", "the smallest number there is"],
)
def test_what_a_float32_rounds_to_its_allowance_is_wrong(got: float, expected: float, tolerance: Tolerance) -> None:
    """The quick look computes in float32, which takes 0.1000000015 for 0.1."""
    assert compare(torch.tensor([got]), torch.tensor([expected]), tolerance).wrong == 1


def test_the_default_tolerance_of_each_dtype_is_its_own_and_each_part_can_be_given() -> None:
    assert tolerance_for("float32", None, None) == Tolerance(1e-4, 1e-4)
    assert tolerance_for("float16", 0.5, None) == Tolerance(0.5, 1e-2)
    assert tolerance_for("int32", None, None) == EXACT


def test_the_sentence_names_count_place_and_values() -> None:
    difference = compare(of("float32", [1, 2, 9]), of("float32", [1, 2, 3]), tolerance_for("float32", None, None))
    text = describe("out", difference, 3, tolerance_for("float32", None, None))
    assert text.startswith("out: 1 of 3 elements differ")
    assert "out[2]: got 9, expected 3" in text


def test_a_cast_is_trivial_only_where_there_was_more_to_do() -> None:
    values = torch.tensor([0.5, -1.25, 3.0, 7.0])
    tolerance = tolerance_for("float16", None, None)
    assert passes_by_accident(values.half(), {0: values}, tolerance) == {}
    assert passes_by_accident((values * 1.0005).half(), {0: values}, tolerance) == {"input 0 cast": False}
    assert passes_by_accident(values.clone(), {0: values}, tolerance) == {"input 0 passed on": True}


def test_a_complex_input_is_held_against_a_real_answer_by_its_real_part(recwarn: pytest.WarningsRecorder) -> None:
    """torch warned that the imaginary part is lost, in the judge's own words to its log."""
    values = torch.tensor([1 + 2j, -3 + 4j, 5 - 6j, 0.5 + 8j])
    tolerance = tolerance_for("float32", None, None)
    assert passes_by_accident(values.real * 1.00001, {0: values}, tolerance) == {"input 0 cast": False}
    assert passes_by_accident(values.imag.contiguous(), {0: values}, tolerance) == {}
    assert not recwarn.list


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, "bool", "complex64"])
def test_trivial_answers_are_recognised_in_every_dtype(dtype: str) -> None:
    zeros = torch.zeros(4).to(getattr(torch, dtype))
    inputs = {0: torch.ones(4), 1: torch.zeros(4).to(getattr(torch, dtype))}
    found = passes_by_accident(zeros, inputs, tolerance_for(dtype, None, None))
    assert found == {"zeros": True, "a constant": True, "input 1 passed on": True}
    varied = torch.tensor([0, 1, 0, 1]).to(getattr(torch, dtype))
    assert passes_by_accident(varied, {}, tolerance_for(dtype, None, None)) == {}
    assert passes_by_accident(varied, {}, tolerance_for(dtype, None, None), varied.clone()) == {
        "an earlier answer": True
    }


@pytest.mark.parametrize("dtype", [*DTYPES])
def test_some_elements_are_picked_in_every_dtype(dtype: str) -> None:
    values = torch.tensor([1, 0, 1, 1, 0, 0]).to(getattr(torch, dtype))
    some = trivial._at(values, torch.tensor([4, 0, 3]))
    assert (some.dtype, some.to(torch.complex128).real.tolist()) == (values.dtype, [0, 1, 1])


class Answers:
    """A side that has given these answers."""

    def __init__(self, *answers: torch.Tensor) -> None:
        self._answers = [(f"out{number}", answer) for number, answer in enumerate(answers)]

    def answers(self, _slot: int) -> list[tuple[str, torch.Tensor]]:
        return self._answers


def test_a_check_is_weak_where_all_outputs_may_be_trivial_or_one_is_near_what_is_right() -> None:
    """Of a module that hands an input on beside its answer the input is right, and says nothing of the answer."""
    given, answer = torch.rand(64), torch.rand(64)
    tolerance = tolerance_for("float32", None, None)

    def of(*outputs: torch.Tensor) -> list[str]:
        return weak_controls(Answers(*outputs), [tolerance] * len(outputs), [given])  # type: ignore[arg-type]

    assert of(answer) == []
    assert of(given.clone()) == ["out0: input 0 passed on"]
    assert of(answer, given.clone()) == []
    assert of(answer, given * 1.00001) == ["out1: input 0 passed on"]
    assert of(torch.zeros(64), given.clone()) == ["out0: a constant or zeros", "out1: input 0 passed on"]


def weak(answer: torch.Tensor, earlier: torch.Tensor | None = None, rtol: float | None = None) -> list[str]:
    beside = torch.linspace(1, 2, 5)  # an output that is checked
    tolerances = [tolerance_for(str(one.dtype).removeprefix("torch."), None, rtol) for one in (beside, answer)]
    before = None if earlier is None else [torch.zeros(5), earlier]
    return weak_controls(Answers(beside, answer), tolerances, [], before)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 100, 3000])
def test_a_tolerance_that_tells_only_of_a_few_elements_is_found(rows: int) -> None:
    """All of them in one column, in that of what is not sampled at even distances."""
    sharp = torch.full((rows, 64), 1e-3, dtype=torch.bfloat16)
    sharp[:, 17] = 0.9
    assert weak(sharp)[0].startswith("out1: zeros in 98.")
    moved = sharp + 1
    assert weak(moved) == [] or weak(moved)[0].startswith("out1: a constant in ")
    assert weak(moved, earlier=moved.roll(1, dims=1))[0].startswith("out1: ")
    assert weak(torch.where(sharp < 0.1, torch.tensor(0.02, dtype=torch.bfloat16), sharp)) == []


def test_elements_that_a_trivial_answer_has_exactly_right_are_no_sign_of_a_wide_tolerance() -> None:
    """Of a sparse answer, or of one that is mostly masked, the check proves the rest."""
    sparse = torch.zeros(1000)
    sparse[::50] = torch.linspace(1, 2, 20)
    assert weak(sparse) == []
    assert weak(torch.arange(1000)) == []
    assert weak(torch.cat([torch.zeros(0), sparse[:0]])) == []


def test_of_a_large_answer_a_sample_is_looked_at_and_nothing_of_its_size_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Numbering the places of 134 MB took longer than checking them. One value stands for 8 TB here."""
    monkeypatch.setattr(trivial, "passes_by_accident", lambda *_: {})
    answers = [("out", torch.tensor([3.0]).expand(1 << 41))]
    reference: Any = SimpleNamespace(answers=lambda _: answers)
    found = weak_controls(reference, [Tolerance(5.0, 0.0)], [])
    assert found == ["out: zeros in 100 % of its elements"]


@pytest.mark.parametrize(("outputs", "most"), [(8, 128), (4000, 1)])
def test_many_outputs_are_not_each_held_against_as_many_inputs(
    monkeypatch: pytest.MonkeyPatch, outputs: int, most: int
) -> None:
    """4000 of both kept the judge busy for an hour, whatever the contract's time. Of many inputs it is those at about
    the place of the output."""
    tried: list[list[int]] = []
    monkeypatch.setattr(trivial, "passes_by_accident", lambda _, inputs, *__: tried.append(list(inputs)) or {})
    answers = [("", torch.rand(2)) for _ in range(outputs)]
    reference: Any = SimpleNamespace(answers=lambda _: answers)
    tolerances = [tolerance_for("float32", None, None)] * outputs
    weak_controls(reference, tolerances, [torch.rand(2)] * 4000)
    assert {len(numbers) for numbers in tried} == {most}
    assert (tried[0][0], tried[-1][-1]) == (0, 3999)
    tried.clear()
    weak_controls(reference, tolerances, [torch.rand(3), torch.rand(2)])
    assert tried == [[1]] * outputs


def test_one_number_is_no_constant_that_anybody_knows() -> None:
    loss, tolerance = torch.tensor(0.7), tolerance_for("float32", None, None)
    assert passes_by_accident(loss, {}, tolerance, torch.tensor(0.8)) == {}
    assert passes_by_accident(loss, {}, tolerance, torch.tensor(0.70001)) == {"an earlier answer": False}


@pytest.mark.parametrize(
    ("got", "expected", "words"),
    [
        (
            torch.tensor([849000000000001]),
            torch.tensor([849000000000000]),
            "got 849000000000001, expected 849000000000000",
        ),
        (torch.tensor([-1]).view(torch.uint64), torch.tensor([5]).view(torch.uint64), f"got {2**64 - 1}, expected 5"),
        (torch.tensor([True]), torch.tensor([False]), "got 1, expected 0"),
        (1 + torch.tensor([1e-12]).double(), torch.ones(1).double(), "got 1.000000000001, expected 1.0"),
        (torch.tensor([1 + 2j]), torch.tensor([2 + 1j]), "got 1+2j, expected 2+1j"),
    ],
)
def test_what_is_told_apart_reads_differently(got: torch.Tensor, expected: torch.Tensor, words: str) -> None:
    exact = Tolerance(0, 0)
    assert words in describe("output", compare(got, expected, exact), 1, exact)


@pytest.mark.parametrize("atol", [1e-4, 1.0])
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64"])
def test_what_is_expected_to_be_0_has_no_relative_error(dtype: str, atol: float) -> None:
    difference = compare(of(dtype, [1.0, 10.0]), of(dtype, [0.0, 9.0]), Tolerance(atol, 0.0))
    assert (difference.max_abs, difference.max_rel) == (pytest.approx(1.0), pytest.approx(1 / 9))
    nothing = compare(of("float32", [math.nan]), of("float32", [0.0]), Tolerance(1.0, 1.0))
    assert nothing.max_rel == torch.finfo(torch.float64).max
