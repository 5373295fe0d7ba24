"""Errors against the reference in float64, and between runs: shown, never judged by."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from executor_bundles import Judged, JudgeOne, compare, evaluate, forward, io, kernel, tensor

from daemon.evaluation import Numerics
from daemon.executor.cases.kept_calls import CallPicker, TimedCall
from daemon.executor.cases.numerics import against_exact, labels, spread_of
from daemon.executor.shared.layout import TensorShape

SOFTMAX = """
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.full((1,), 0.7))
        def forward(self, a, b):
            return torch.softmax(a * self.scale, dim=-1) @ b
    def get_inputs():
        return [torch.randn(32, 64), torch.randn(64, 16)]
    """


def found(judged: Judged) -> Numerics:
    numerics = judged.passed().case.numerics
    assert numerics is not None
    return numerics


@pytest.mark.sandbox
def test_an_honest_kernel_errs_as_its_reference_does(judge: JudgeOne) -> None:
    judged = judge(compare(SOFTMAX.replace("Model(", "ModelNew("), SOFTMAX))
    numerics = found(judged)
    assert numerics.rms_error is not None and numerics.ref_rms_error is not None
    assert 0 < numerics.ref_rms_error < 1e-6
    assert numerics.rms_error == pytest.approx(numerics.ref_rms_error, rel=3)
    assert (numerics.differing_elements, numerics.note) == (0, None)
    assert "less_exact" not in judged.case.labels


@pytest.mark.sandbox
def test_half_precision_within_tolerance_passes_and_shows(judge: JudgeOne) -> None:
    half = SOFTMAX.replace("Model(", "ModelNew(").replace(
        "return torch.softmax(a * self.scale, dim=-1) @ b",
        "return torch.softmax((a * self.scale).half(), dim=-1).float() @ b.half().float()",
    )
    judged = judge(compare(half, SOFTMAX, atol=1e-2, rtol=1e-2))
    numerics = found(judged)
    assert numerics.rms_error is not None and numerics.ref_rms_error is not None
    assert numerics.rms_error > 50 * numerics.ref_rms_error
    assert "less_exact" in judged.case.labels


ROUNDED = """
    class Model(nn.Module):
        def forward(self, a, b):
            return (a @ b).bfloat16()
    def get_inputs():
        return [torch.randn(64, 256), torch.randn(256, 64)]
    """


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("answer", "is_coarse"),
    [
        ("(a @ b).bfloat16()", False),
        ("(a.bfloat16() @ b.bfloat16())", False),
        ("(a.to(torch.float8_e4m3fn).float() @ b.to(torch.float8_e4m3fn).float()).bfloat16()", True),
    ],
    ids=["as the reference", "factors in bfloat16", "factors in float8"],
)
def test_what_a_reference_rounds_by_itself_hides_no_coarser_product(
    judge: JudgeOne, answer: str, is_coarse: bool
) -> None:
    custom = ROUNDED.replace("Model(", "ModelNew(").replace("(a @ b).bfloat16()", answer)
    judged = judge(compare(custom, ROUNDED, atol=4))
    numerics = found(judged)
    assert numerics.ref_rms_error == pytest.approx(1.6e-3, rel=0.2)
    assert ("less_exact" in judged.case.labels) == is_coarse


@pytest.mark.sandbox
def test_a_kernel_that_rounds_less_than_its_reference_is_not_less_exact(judge: JudgeOne) -> None:
    """The reference in float64 rounded as it does: whoever did not was far from that."""
    reference = ROUNDED.replace("(a @ b).bfloat16()", "(a.bfloat16() @ b.bfloat16()).to(a.dtype)")
    judged = judge(compare(forward("return a @ b"), reference, atol=1, rtol=0.1))
    numerics = found(judged)
    assert numerics.rms_error is not None and numerics.rms_error < 1e-6
    assert numerics.ref_rms_error == pytest.approx(2.9e-3, rel=0.3)
    assert "less_exact" not in judged.case.labels


@pytest.mark.sandbox
def test_a_reference_that_cannot_be_run_without_rounding_is_run_with_it(judge: JudgeOne) -> None:
    """Here it asks for a dtype that only a rounded tensor has."""
    body = "def forward(self, a, b):\n            assert a.half().dtype is torch.float16\n            return a * b"
    reference = SOFTMAX.replace(
        "def forward(self, a, b):\n            return torch.softmax(a * self.scale, dim=-1) @ b", body
    ).replace("torch.randn(64, 16)", "torch.randn(32, 64)")
    assert "half" in reference
    numerics = found(judge(compare(forward("return a * b"), reference)))
    assert numerics.rms_error is not None and numerics.rms_error < 1e-6


@pytest.mark.sandbox
def test_a_kernel_that_answers_differently_each_time_is_labelled(judge: JudgeOne) -> None:
    noise = "torch.frombuffer(bytearray(os.urandom(a.numel())), dtype=torch.uint8).reshape(a.shape)"
    body = f"import os\nreturn a + b + {noise} * 1e-8"
    judged = judge(compare(forward(body), atol=1e-4, rtol=1e-4))
    numerics = found(judged)
    assert numerics.differing_elements > 0
    assert 0 < numerics.max_abs_spread < 1e-4
    assert "nondeterministic" in judged.case.labels


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("return torch.from_numpy((a + b).numpy(force=True).astype('float32'))", "other shapes or dtypes"),
        ("return a + b if a.itemsize == 4 else fail()", "fail"),
    ],
    ids=["rounded by numpy", "refuses"],
)
def test_a_reference_that_float64_does_not_suit_leaves_a_note_and_no_harm(
    judge: JudgeOne, line: str, words: str
) -> None:
    inputs = "def get_inputs():\n    return [torch.randn(64, 8), torch.randn(64, 8)]\n"
    reference = forward(line).replace("ModelNew", "Model") + inputs
    numerics = found(judge(compare(forward("return a + b"), kernel(reference))))
    assert numerics.rms_error is None
    assert numerics.note is not None and words in numerics.note


WRITES = """
    import torch

    def step(x, waves, total):
        waves.copy_(torch.sin({of_waves}) * 2)
        total.add_({of_total} * 3)
    """


@pytest.mark.sandbox
@pytest.mark.parametrize(
    ("of_waves", "of_total", "is_coarse"),
    [("x", "x", False), ("x.bfloat16().float()", "x", True), ("x", "x.half().float()", True)],
    ids=["honest", "coarse in what it writes", "coarse in what it changes"],
)
def test_a_reference_that_writes_its_answer_into_arguments_tells_how_exact_it_is(
    judge: JudgeOne, of_waves: str, of_total: str, is_coarse: bool
) -> None:
    args = io(
        tensor("x", [48, 32]),
        tensor("waves", [48, 32], role="output", atol=0.1, rtol=0.1),
        tensor("total", [48, 32], role="inout", atol=0.1, rtol=0.1, init={"kind": "randn"}),
    )
    named = {"metadata": {"function_name": "step"}, "io": args}
    sides = [WRITES.format(of_waves=waves, of_total=total) for waves, total in (("x", "x"), (of_waves, of_total))]
    judged = judge(compare(kernel(sides[1], **named), kernel(sides[0], **named)))
    numerics = found(judged)
    assert numerics.note is None and numerics.rms_error is not None and numerics.ref_rms_error is not None
    assert 0 < numerics.ref_rms_error < 1e-6
    assert ("less_exact" in judged.case.labels) == is_coarse


def test_exact_answers_of_other_shapes_are_not_fetched() -> None:
    """They may be as large as any tensors, and the judge would hold them twice."""
    exact: Any = SimpleNamespace(describe=lambda *_: None, shapes=[TensorShape("float64", (1 << 30,))], tensors=None)
    call = TimedCall({}, [torch.zeros(4)], [torch.zeros(4)])
    known = Numerics(differing_elements=0, max_abs_spread=0.0, rounding=0.0)
    assert "other shapes" in (against_exact(known, call, exact, 0.0).note or "")


@pytest.mark.parametrize("unit", [1.0, 1e200, 1e-200])
def test_the_error_is_told_of_numbers_of_any_size(unit: float) -> None:
    exact_answer = torch.tensor([3.0, 4.0, float("inf")], dtype=torch.float64) * unit
    exact: Any = SimpleNamespace(
        describe=lambda *_: None, shapes=[TensorShape("float64", (3,))], tensors=lambda _: [exact_answer]
    )
    answers = [exact_answer + torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64) * unit]
    known = Numerics(differing_elements=0, max_abs_spread=0.0, rounding=0.0)
    told = against_exact(known, TimedCall({}, answers, [exact_answer]), exact, 0.0)
    assert told.rms_error == pytest.approx(0.1)
    assert told.max_abs_error == pytest.approx(0.5 * unit)
    assert told.ref_rms_error == 0.0
    assert labels(told) == ["less_exact"]


def test_an_answer_that_is_another_one_in_float64_tells_nothing_and_the_others_do() -> None:
    """What a kernel of the reference's own makes of doubles that it takes for floats, say."""
    right, other = torch.linspace(1, 2, 8, dtype=torch.float64), torch.linspace(9, 5, 8, dtype=torch.float64)
    known = Numerics(differing_elements=0, max_abs_spread=0.0, rounding=0.0)

    def told(*answers: torch.Tensor) -> Numerics:
        shapes = [TensorShape("float64", (8,)) for _ in answers]
        exact: Any = SimpleNamespace(describe=lambda *_: None, shapes=shapes, tensors=lambda _: [*answers])
        call = TimedCall({}, [(right + 0.01).float()] * len(answers), [right.float()] * len(answers))
        return against_exact(known, call, exact, 0.0)

    assert told(other).note == "run in float64, the reference answers something else"
    assert told(other).rms_error is None
    assert told(other, right).max_abs_error == told(right).max_abs_error == pytest.approx(0.01, rel=1e-3)


@pytest.mark.sandbox
def test_a_reference_whose_kernel_declares_its_dtypes_is_not_run_in_float64(judge: JudgeOne) -> None:
    triton_scale = """
        import triton, triton.language as tl
        @triton.jit
        def scale(x, y):
            at = tl.arange(0, 64)
            tl.store(y + at, tl.load(x + at) * 3)
        """
    args = io(tensor("x", [64]), tensor("y", [64], role="output"), grid=[1])
    sides = [kernel(triton_scale, "triton", io=args) for _ in range(2)]
    numerics = found(judge(compare(*sides)))
    assert numerics.rms_error is None
    assert numerics.note is not None and "its kernel says itself" in numerics.note


@pytest.mark.sandbox
def test_without_a_reference_only_the_spread_is_known(judge: JudgeOne) -> None:
    source = forward("return a * 2", arguments="a") + "def get_inputs():\n    return [torch.randn(8)]\n"
    numerics = found(judge(evaluate(source)))
    assert (numerics.differing_elements, numerics.rms_error, numerics.note) == (0, None, None)


def test_every_round_may_be_the_one_whose_call_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """And every slot of it; a measurement that begins anew forgets what it had."""
    taken: list[tuple[int, int]] = []
    monkeypatch.setattr(TimedCall, "of", lambda _candidate, _reference, slot: slot)
    monkeypatch.setattr("daemon.executor.cases.kept_calls.too_large", lambda _: False)
    sides: Any = [object(), object()]
    for seed in range(400):
        picker = CallPicker(sides, torch.Generator().manual_seed(seed))
        for number in range(1, 6):
            picker.offer(number, [10 * number, 10 * number + 1])
        taken.append(divmod(picked(picker), 10))
        picker.offer(1, [70])
        assert picked(picker) == 70
    counts = Counter(taken)
    assert set(counts) == {(number, slot) for number in range(1, 6) for slot in range(2)}
    assert min(counts.values()) > 15


def picked(picker: CallPicker) -> int:
    """The slot, in place of the call in it."""
    found: Any = picker.picked
    assert isinstance(found, int)
    return found


def test_without_a_reference_no_call_is_kept() -> None:
    alone: Any = [object()]
    picker = CallPicker(alone, torch.Generator())
    picker.offer(1, [0])
    assert picker.picked is None


def test_no_call_is_kept_whose_copies_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daemon.executor.cases.kept_calls.too_large", lambda _: True)
    sides: Any = [object(), object()]
    picker = CallPicker(sides, torch.Generator())
    picker.offer(1, [0])
    assert picker.picked is None


def test_equal_bits_are_equal_and_nan_is_no_distance() -> None:
    first = [torch.tensor([1.0, float("nan"), float("inf")])]
    assert spread_of(first, [first[0].clone()]).differing_elements == 0
    apart = spread_of(first, [torch.tensor([1.5, float("nan"), 0.0])])
    assert (apart.differing_elements, apart.max_abs_spread) == (2, 0.5)


def test_rounding_alone_is_not_less_exact() -> None:
    shown = Numerics(differing_elements=0, max_abs_spread=0, rounding=1e-7, rms_error=9e-8, ref_rms_error=0.0)
    assert labels(shown) == []
    assert labels(shown.model_copy(update={"rms_error": 1e-4})) == ["less_exact"]


def test_another_order_of_a_sum_in_float64_is_not_less_exact() -> None:
    eps = torch.finfo(torch.float64).eps
    shown = Numerics(differing_elements=0, max_abs_spread=0, rounding=eps, rms_error=9 * eps, ref_rms_error=0.0)
    assert labels(shown) == []
    assert labels(shown.model_copy(update={"rms_error": 1e-8})) == ["less_exact"]


class Known:
    """Exact answers that are there already, in place of a cell's."""

    def __init__(self, *answers: torch.Tensor) -> None:
        self._answers = list(answers)
        self.shapes = [TensorShape(str(one.dtype).removeprefix("torch."), tuple(one.shape)) for one in answers]

    def describe(self, *_: object) -> None: ...

    def tensors(self, _deadline: float) -> list[torch.Tensor]:
        return self._answers


def test_the_least_exact_output_counts_whatever_the_others_are_like() -> None:
    exact = torch.linspace(1, 2, 100, dtype=torch.float64)
    honest, coarse = exact.float(), exact.bfloat16().float()
    rounded = exact.bfloat16()
    call = TimedCall({}, [honest * 1e6, coarse, rounded], [honest * 1e6, honest, rounded])
    exactly: Any = Known(exact * 1e6, exact, exact.bfloat16())  # of which the last stays what it is
    shown = against_exact(spread_of(call.candidate, call.candidate), call, exactly, 0.0)
    assert shown.rounding == torch.finfo(torch.float32).eps
    assert shown.rms_error == pytest.approx(2e-3, rel=0.9)
    assert labels(shown) == ["less_exact"]
    same = TimedCall({}, call.reference, call.reference)
    assert labels(against_exact(shown, same, exactly, 0.0)) == []


def test_complex_answers_are_measured_as_well() -> None:
    exact = torch.complex(*(torch.linspace(1, 2, 50, dtype=torch.float64) * sign for sign in (1, -1)))
    honest = exact.to(torch.complex64)
    coarse = torch.view_as_complex(torch.view_as_real(honest).bfloat16().float())
    known: Any = Known(exact)
    shown = against_exact(spread_of([honest], [coarse]), TimedCall({}, [coarse], [honest]), known, 0.0)
    assert shown.max_abs_spread > 1e-3
    assert labels(shown) == ["nondeterministic", "less_exact"]


def test_of_a_complex_answer_the_imaginary_part_counts_as_well() -> None:
    real, imaginary = (torch.linspace(1, 2, 50, dtype=torch.float64) for _ in range(2))
    exact, honest = torch.complex(real, imaginary), torch.complex(real.float(), imaginary.float())
    coarse = torch.complex(real.float(), imaginary.bfloat16().float())
    shown = against_exact(spread_of([honest], [coarse]), TimedCall({}, [coarse], [honest]), Known(exact), 0.0)  # type: ignore[arg-type]
    assert shown.max_abs_spread > 1e-3
    assert labels(shown) == ["nondeterministic", "less_exact"]


def told(candidate: torch.Tensor, reference: torch.Tensor, exact: torch.Tensor) -> list[str]:
    known: Any = Known(exact)
    call = TimedCall({}, [candidate], [reference])
    return labels(against_exact(spread_of([candidate], [candidate]), call, known, 0.0))


def product(scale: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two factors; the rows of the first are as large as `scale` says."""
    random = torch.Generator().manual_seed(0)
    first, second = (torch.randn(128, 128, generator=random) for _ in range(2))
    return first * scale[:, None], second


@pytest.mark.parametrize("sizes", [(1e3,), (1e6, 1e2), (1e9, 1e6, 1e3, 1.0)], ids=["one", "two", "four"])
def test_large_rows_do_not_hide_how_coarse_the_others_are(sizes: tuple[float, ...]) -> None:
    scale = torch.full((128,), 1e-3)
    scale[: len(sizes)] = torch.tensor(sizes)
    first, second = product(scale)
    exact, honest = first.double() @ second.double(), first @ second
    coarse = (first.bfloat16() @ second.bfloat16()).float()
    coarse[: len(sizes)] = honest[: len(sizes)]
    assert told(coarse, honest, exact) == ["less_exact"]
    other_order = (first.flip(1) @ second.flip(0)).contiguous()
    assert told(other_order, honest, exact) == []


def test_what_is_masked_does_not_hide_how_coarse_the_rest_is() -> None:
    first, second = product(torch.ones(128))
    masked = torch.ones(128, 128, dtype=torch.bool).tril()
    exact, honest, coarse, other_order = (
        answer.masked_fill(masked, -1e9)
        for answer in (
            first.double() @ second.double(),
            first @ second,
            (first.bfloat16() @ second.bfloat16()).float(),
            first.flip(1) @ second.flip(0),
        )
    )
    assert told(coarse, honest, exact) == ["less_exact"]
    assert told(other_order, honest, exact) == []


def test_small_elements_of_honest_functions_are_not_less_exact() -> None:
    """Exponentials by powers of two, logarithms of one and a little, what cancels out, what is flushed to zero."""
    x = torch.randn(200, 500, generator=torch.Generator().manual_seed(0)) * 12
    low = x - x.amax(1, keepdim=True)
    powers = torch.exp2(low * 1.4426950408889634)
    softmax = powers / powers.sum(1, keepdim=True)
    assert told(softmax, x.softmax(1), x.double().softmax(1)) == []
    naive, exact = torch.log(1 + torch.exp(x)), torch.nn.functional.softplus(x.double(), threshold=100)
    assert told(naive, torch.nn.functional.softplus(x, threshold=100), exact) == []
    inverse, spread = torch.linalg.inv(torch.eye(64) * 4 + x[:64, :64] / 50), torch.eye(64) * 4 + x[:64, :64] / 50
    assert told(inverse.T.contiguous().T @ spread, inverse @ spread, inverse.double() @ spread.double()) == []
    tiny = x.abs() * 1e-40
    tiny[0] = 1.0
    flushed = tiny.clone()
    flushed[1:] = 0.0
    assert told(flushed, tiny, tiny.double()) == []
