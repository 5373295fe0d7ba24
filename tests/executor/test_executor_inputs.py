from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from daemon.contract import DTYPES, InitKind, InitSpec, TensorSpec
from daemon.executor.content.inputs import Secret, draw, is_fixed

FLOATING = [name for name in DTYPES if name.startswith(("float", "bfloat"))]
INTEGRAL = [name for name in DTYPES if name.startswith(("int", "uint"))]


def drawn(dtype: str, kind: str, shape: tuple[int, ...] = (64,), seed: int = 7, **given: Any) -> torch.Tensor:
    spec = TensorSpec(shape=shape, dtype=dtype, init=InitSpec(kind=InitKind(kind), **given))
    return draw(spec, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [*DTYPES])
@pytest.mark.parametrize("kind", [*InitKind])
@pytest.mark.parametrize("shape", [(), (0,), (3, 0), (5,), (2, 3)], ids=str)
def test_every_kind_fills_every_dtype_and_shape(dtype: str, kind: InitKind, shape: tuple[int, ...]) -> None:
    given = {"fill_value": 1} if kind is InitKind.FULL else {}
    tensor = drawn(dtype, kind, shape, **given)
    assert tensor.shape == shape
    assert tensor.dtype is getattr(torch, dtype)
    assert tensor.is_contiguous()


@pytest.mark.parametrize("dtype", [*FLOATING, *INTEGRAL, "complex64"])
def test_equal_seeds_give_equal_content_and_others_do_not(dtype: str) -> None:
    first, again, other = (drawn(dtype, "randn", seed=seed).view(torch.uint8) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("dtype", [*DTYPES])
@pytest.mark.parametrize(("kind", "given"), [("randn", {}), ("uniform", {}), ("arange", {"step": 0})], ids=str)
def test_what_a_large_tensor_is_drawn_in_is_small_and_the_tensor_is_the_same(
    dtype: str, kind: str, given: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Integers are drawn eight bytes wide: 4 GiB of bytes took the judge 36."""
    whole = drawn(dtype, kind, (3, 1000), **given)
    widest: list[int] = []
    for name in ("randint", "randn", "rand", "arange"):
        made = getattr(torch, name)

        def noted(*args: Any, make: Any = made, **kwargs: Any) -> torch.Tensor:
            tensor: torch.Tensor = make(*args, **kwargs)
            widest.append(tensor.numel())
            return tensor

        monkeypatch.setattr(torch, name, noted)
    monkeypatch.setattr("daemon.executor.content.inputs._AT_ONCE", 64)
    pieces = drawn(dtype, kind, (3, 1000), **given)
    assert torch.equal(whole.view(torch.uint8), pieces.view(torch.uint8))
    assert max(widest) <= (128 if dtype.startswith("complex") else 64)


@pytest.mark.parametrize("kind", [*InitKind])
def test_what_has_no_element_takes_no_memory_however_long_its_rows_are(kind: InitKind) -> None:
    given = {"fill_value": 1} if kind is InitKind.FULL else {}
    assert drawn("int64", kind, (0, 1 << 40), **given).shape == (0, 1 << 40)


def test_unseeded_tensors_and_secrets_differ() -> None:
    secret = Secret()
    assert secret.seed("input", 1, 0, 0) != secret.seed("input", 1, 0, 1)
    assert secret.seed("a") == secret.seed("a") != Secret().seed("a")
    assert 0 <= secret.seed("a") < 2**63


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16"])
def test_uniform_fills_low_to_high_and_a_high_of_zero_is_zero(dtype: str) -> None:
    tensor = drawn(dtype, "uniform", (4096,), low=-2, high=0).double()
    assert -2 <= float(tensor.min()) < -1.9
    assert -0.1 < float(tensor.max()) < 0
    default = drawn(dtype, "uniform", (4096,)).double()
    assert 0 <= float(default.min()) < 0.1
    assert 0.9 < float(default.max()) < 1


@pytest.mark.parametrize("dtype", FLOATING)
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 0), (0.3, 0.7), (-0.7, -0.3), (1, 1.5), (-1.5, 0.1)])
def test_uniform_is_never_rounded_to_high_nor_below_low(dtype: str, low: float, high: float) -> None:
    tensor = drawn(dtype, "uniform", (1 << 16,), low=low, high=high).double()
    assert low <= float(tensor.min())
    assert float(tensor.max()) < high


def test_uniform_draws_both_parts_of_a_complex_number() -> None:
    drawn_parts = torch.view_as_real(drawn("complex64", "uniform", (4096,), low=2, high=3))
    assert drawn_parts.shape == (4096, 2)
    for part in drawn_parts.unbind(-1):
        assert 2 <= float(part.min()) < 2.1 and 2.9 < float(part.max()) < 3
    assert not torch.equal(*drawn_parts.unbind(-1))


def test_uniform_between_equal_bounds_is_that_number() -> None:
    assert drawn("float32", "uniform", (3,), low=0.25, high=0.25).tolist() == [0.25] * 3


def test_uniform_is_inclusive_for_integers_and_reaches_both_ends_of_int64() -> None:
    assert set(drawn("int32", "uniform", (500,), low=3, high=5).tolist()) == {3, 4, 5}
    wide = drawn("int64", "uniform", (200,), low=-(2**63), high=2**63 - 1)
    assert int(wide.min()) < -(2**60) and int(wide.max()) > 2**60
    assert drawn("uint64", "uniform", (5,), low=2**64 - 1, high=2**64 - 1).view(torch.int64).tolist() == [-1] * 5
    deep = drawn("uint64", "uniform", (1,) * 63 + (5,), low=2**64 - 1, high=2**64 - 1)
    assert deep.flatten().view(torch.int64).tolist() == [-1] * 5, "numpy has 64 dimensions at most"


@pytest.mark.parametrize(("dtype", "limit"), [("float32", 3e38), ("float64", 1.7e308), ("bfloat16", 3e38)])
def test_uniform_over_all_there_is_stays_finite_and_varies(dtype: str, limit: float) -> None:
    wide = drawn(dtype, "uniform", (500,), low=-limit, high=limit).double()
    assert bool(wide.isfinite().all())
    assert float(wide.min()) < -limit / 2 and float(wide.max()) > limit / 2


def test_std_counts_without_mean_and_mean_without_std() -> None:
    assert float(drawn("float32", "randn", (4096,), std=0.01).std()) == pytest.approx(0.01, rel=0.2)
    assert float(drawn("float32", "randn", (4096,), mean=5).mean()) == pytest.approx(5, abs=0.2)


@pytest.mark.parametrize("dtype", INTEGRAL)
def test_randn_on_integers_is_uniform_over_the_range(dtype: str) -> None:
    tensor = drawn(dtype, "randn", (4096,)).to(torch.int64)
    limits = torch.iinfo(getattr(torch, dtype))
    low, high = (
        (limits.min, limits.max) if dtype not in ("int64", "uint64") else (-(10**6) if dtype == "int64" else 0, 10**6)
    )
    assert low <= int(tensor.min()) < low + (high - low) // 10
    assert high - (high - low) // 10 < int(tensor.max()) <= high


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("int64", 2**63 - 1),
        ("int64", -(2**63)),
        ("uint64", 2**64 - 1),
        ("float32", math.inf),
        ("float16", math.nan),
        ("bool", True),
        ("uint8", 255),
        ("float64", 0.1),
    ],
)
def test_full_is_exact(dtype: str, value: float) -> None:
    element = drawn(dtype, "full", (2,), fill_value=value)[0]
    if isinstance(value, float) and math.isnan(value):
        assert math.isnan(float(element))
    else:
        assert element.item() == value


def test_arange_runs_along_the_last_dimension_in_every_row() -> None:
    assert drawn("int32", "arange", (2, 3), start=5, step=2).tolist() == [[5, 7, 9], [5, 7, 9]]
    assert drawn("float32", "arange", (3,), start=0.5, step=0.25).tolist() == [0.5, 0.75, 1.0]
    assert drawn("int64", "arange", (2,), start=2**62, step=1).tolist() == [2**62, 2**62 + 1]


def test_one_number_of_an_arange_is_as_exact_as_many() -> None:
    assert drawn("uint64", "arange", (), start=2**63).view(torch.int64).item() == -(2**63)
    assert drawn("int64", "arange", (), start=2**53 + 1).item() == 2**53 + 1
    assert drawn("float32", "arange", (), start=0.5).item() == 0.5


@pytest.mark.parametrize(
    ("dtype", "kind", "given", "fixed"),
    [
        ("float32", "randn", {"std": 0}, True),
        ("int32", "randn", {"std": 0}, False),  # uniform over the whole range
        ("float32", "uniform", {"low": 2, "high": 2}, True),
        ("int32", "uniform", {"low": 2, "high": 2}, True),
        ("int32", "uniform", {"low": 2, "high": 3}, False),
        ("bool", "uniform", {"low": 1, "high": 1}, False),  # a bool is 0 or 1 whatever the bounds
    ],
)
def test_what_leaves_nothing_to_chance_is_fixed(dtype: str, kind: str, given: dict[str, float], *, fixed: bool) -> None:
    init = InitSpec(kind=InitKind(kind), **given)
    assert is_fixed(TensorSpec(shape=(2,), dtype=dtype, init=init)) is fixed


def test_only_random_content_counts_as_secret() -> None:
    def spec(kind: str | None) -> TensorSpec:
        return TensorSpec(shape=(2,), dtype="float32", init=InitSpec(kind=InitKind(kind)) if kind else None)

    assert [is_fixed(spec(kind)) for kind in ("randn", "uniform", "zeros", "arange", None)] == [
        False,
        False,
        True,
        True,
        True,
    ]
