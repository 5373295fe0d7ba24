"""Is this the right answer? Element by element, in the judge, against the reference's output for the same secret inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from daemon.contract import default_tolerance

_CHUNK = 1 << 22


@dataclass(frozen=True)
class Tolerance:
    """`|got - expected| <= atol + rtol * |expected|`, as torch.allclose."""

    atol: float
    rtol: float


@dataclass(frozen=True)
class Difference:
    """How far two tensors are apart. `worst` is the index of the element that exceeds its allowance the most."""

    wrong: int
    max_abs: float
    max_rel: float
    worst: tuple[int, ...] | None
    got: float | None = None
    expected: float | None = None


def tolerance_for(dtype: str, atol: float | None, rtol: float | None) -> Tolerance:
    """The contract's tolerance, else the default of the dtype; each of the two on its own."""
    default_atol, default_rtol = default_tolerance(dtype)
    return Tolerance(default_atol if atol is None else atol, default_rtol if rtol is None else rtol)


def compare(got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> Difference:
    """Compare two tensors of one dtype and shape.

    NaN must meet NaN, and an infinity the same infinity: anything else there is wrong with an error of infinity, which is
    reported as the largest finite float. Integers and bool are compared exactly unless the tolerance says otherwise.
    """
    flat_got, flat_expected = _comparable(got), _comparable(expected)
    wrong, max_abs, max_rel, worst_excess, worst_at = 0, 0.0, 0.0, -1.0, -1
    for start in range(0, flat_got.numel(), _CHUNK):
        part_got = flat_got[start : start + _CHUNK]
        part_expected = flat_expected[start : start + _CHUNK]
        error = _errors(part_got, part_expected)
        magnitude = part_expected.abs().to(torch.float64).nan_to_num(0.0, posinf=0.0)
        excess = error - (tolerance.atol + tolerance.rtol * magnitude)
        wrong += int((excess > 0).sum())
        max_abs = max(max_abs, float(error.max()))
        relative = torch.where(error > 0, error / magnitude.clamp_min(torch.finfo(torch.float64).tiny), error)
        max_rel = max(max_rel, float(relative.max()))
        at = int(excess.argmax())
        if float(excess[at]) > worst_excess:
            worst_excess, worst_at = float(excess[at]), start + at
    if worst_at < 0 or wrong == 0:
        return Difference(wrong, _finite(max_abs), _finite(max_rel), None)
    index = _unravel(worst_at, expected.shape, parts=2 if expected.is_complex() else 1)
    return Difference(
        wrong, _finite(max_abs), _finite(max_rel), index, float(flat_got[worst_at]), float(flat_expected[worst_at])
    )


def _comparable(tensor: torch.Tensor) -> torch.Tensor:
    """Flat, in a type wide enough to subtract: float64 for floats, int64 for integers (uint64 keeps its order)."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    flat = tensor.reshape(-1)
    if flat.dtype.is_floating_point:
        return flat.to(torch.float64)
    return flat.to(torch.int64)


def _errors(got: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """|got - expected| as float64; infinity where exactly one is NaN or the infinities differ; 0 where they agree."""
    if not got.dtype.is_floating_point:
        # Subtract as floats: the difference of two int64 may not fit one. Equal stays exactly 0.
        return torch.where(
            got == expected, 0.0, (got.to(torch.float64) - expected.to(torch.float64)).abs().clamp_min(1.0)
        )
    same = (got == expected) | (got.isnan() & expected.isnan())
    error = (got - expected).abs()
    broken = error.isnan() | error.isinf() | expected.isinf() | got.isinf()
    error = torch.where(broken, torch.full_like(error, torch.inf), error)
    return torch.where(same, torch.zeros_like(error), error)


def _finite(value: float) -> float:
    """JSON has no infinity: the largest float stands for it."""
    return min(value, torch.finfo(torch.float64).max)


def _unravel(flat: int, shape: torch.Size, parts: int) -> tuple[int, ...]:
    flat //= parts
    index: list[int] = []
    for extent in reversed(shape):
        index.append(flat % extent)
        flat //= extent
    return tuple(reversed(index))


def describe(name: str, difference: Difference, count: int, tolerance: Tolerance) -> str:
    """One sentence a person can act on."""
    where = f"[{', '.join(map(str, difference.worst))}]" if difference.worst else ""
    return (
        f"{name}: {difference.wrong} of {count} elements differ beyond atol {tolerance.atol:g}, rtol {tolerance.rtol:g}; "
        f"worst {name}{where}: got {_number(difference.got)}, expected {_number(difference.expected)}"
    )


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:.9g}"


def passes_by_accident(expected: torch.Tensor, inputs: list[torch.Tensor], tolerance: Tolerance) -> set[str]:
    """The trivial answers this tolerance would accept: zeros, a constant, an input passed on."""
    if expected.dtype.is_floating_point:
        constant = expected.to(torch.float64).mean().to(expected.dtype)
    else:
        constant = expected.reshape(-1)[0]
    trivial = [("zeros", torch.zeros_like(expected)), ("a constant", constant.expand_as(expected))]
    for number, tensor in enumerate(inputs):
        if tensor.shape == expected.shape:
            trivial.append((f"input {number} passed on", tensor.to(expected.dtype)))
    return {name for name, answer in trivial if compare(answer, expected, tolerance).wrong == 0}
