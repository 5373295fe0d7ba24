"""Is this the right answer? Element by element, in the judge, against the reference's output for the same secret
inputs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from daemon.contract import default_tolerance
from daemon.executor.content.arena import raw

CHUNK = 1 << 22
_LARGEST = torch.finfo(torch.float64).max
_SMALLEST = torch.finfo(torch.float64).tiny
_EXACT_IN_FLOAT = 2.0**52
_CHUNK_ON_DEVICE = 1 << 25
_SMALLEST_FLOAT32 = torch.finfo(torch.float32).tiny
SAFELY = 1 - 1e-6  # what float32 rounds is far less
_ROUNDS_SAFELY = 1e-30
_NO_WIDER_THAN_FLOAT32 = frozenset(
    {torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2}
)


@dataclass(frozen=True)
class Tolerance:
    """`|got - expected| <= atol + rtol * |expected|`, as torch.allclose."""

    atol: float
    rtol: float


@dataclass(frozen=True)
class Difference:
    """How far two tensors are apart. `worst`: the index of the element that exceeds its allowance the most. `max_rel`:
    over elements that are expected not to be 0."""

    wrong: int
    max_abs: float
    max_rel: float
    worst: tuple[int, ...] | None
    got: complex | None = None  # integers stay integers: as floats, two different ones may be equal
    expected: complex | None = None

    def without_leading_index(self) -> Difference:
        """The same for a stack of tensors: `worst` inside the one it is in."""
        return self if self.worst is None else replace(self, worst=self.worst[1:])


def tolerance_for(dtype: str, atol: float | None, rtol: float | None) -> Tolerance:
    """The contract's tolerance, else the default of the dtype; each of the two on its own."""
    default_atol, default_rtol = default_tolerance(dtype)
    return Tolerance(default_atol if atol is None else atol, default_rtol if rtol is None else rtol)


def pieces(*tensors: torch.Tensor) -> Iterator[tuple[torch.Tensor, ...]]:
    """The tensors, which have as many elements each, flat and piece by piece: converted to a wider dtype all at once,
    they would take many times the memory."""
    flat = [tensor.reshape(-1) for tensor in tensors]
    step = _CHUNK_ON_DEVICE if flat[0].device.type == "cuda" else CHUNK
    for start in range(0, flat[0].numel(), step):
        yield tuple(one[start : start + step] for one in flat)


def compare(got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> Difference:
    """Compare two tensors of one dtype and shape.

    NaN must meet NaN, and an infinity the same infinity: anything else there is wrong with an error of infinity,
    which is reported as the largest finite float. Integers and bool are compared exactly unless the tolerance says
    otherwise, complex numbers by the modulus of their difference.
    """
    flat_got, flat_expected = got.reshape(-1), expected.reshape(-1)
    if (difference := safely_within(flat_got, flat_expected, tolerance)) is not None:
        return difference
    wrong, max_abs, max_rel, worst_excess, worst_at = 0, 0.0, 0.0, -1.0, -1
    for start in range(0, flat_got.numel(), CHUNK):
        error, magnitude = _errors(flat_got[start : start + CHUNK], flat_expected[start : start + CHUNK])
        allowance = (tolerance.atol + tolerance.rtol * magnitude).clamp_max(_LARGEST)  # never infinite: NaN would pass
        excess = error - allowance
        wrong += int((excess > 0).sum())
        max_abs = max(max_abs, float(error.max()))
        relative = torch.where((magnitude > 0) | error.isinf(), error / magnitude.clamp_min(_SMALLEST), 0.0)
        max_rel = max(max_rel, float(relative.max()))
        at = int(excess.argmax())
        if float(excess[at]) > worst_excess:
            worst_excess, worst_at = float(excess[at]), start + at
    if worst_at < 0 or wrong == 0:
        return Difference(wrong, _finite(max_abs), _finite(max_rel), None)
    index = _unravel(worst_at, expected.shape)
    seen, wanted = _number_of(flat_got[worst_at]), _number_of(flat_expected[worst_at])
    return Difference(wrong, _finite(max_abs), _finite(max_rel), index, seen, wanted)


def fits_float32(dtype: torch.dtype, tolerance: Tolerance) -> bool:
    """Whether values and allowances fit: an allowance may be too small for a float32."""
    return dtype in _NO_WIDER_THAN_FLOAT32 and (tolerance.atol >= _ROUNDS_SAFELY or tolerance == Tolerance(0.0, 0.0))


def safely_within(got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> Difference | None:
    """The difference of tensors that are finite and safely within their tolerance, or the same bits. Honest answers
    mostly are, and this is found in few passes over memory and one wait for the device. None: look closer.

    Floats are compared in float32. What that rounds is far less than what `SAFELY` takes off the allowance.
    """
    if torch.equal(raw(got), raw(expected)):
        return Difference(0, 0.0, 0.0, None)
    if not fits_float32(expected.dtype, tolerance):
        return None
    sums = []
    for some_got, some_expected in pieces(got, expected):
        given, wanted = some_got.to(torch.float32), some_expected.to(torch.float32)
        error = torch.sub(given, wanted).abs_()
        magnitude = wanted.abs()
        allowance = torch.mul(magnitude, tolerance.rtol * SAFELY).add_(tolerance.atol * SAFELY)
        largest = error.max()
        within = torch.le(error, allowance).all() & largest.isfinite()  # NaN is never within
        magnitude.masked_fill_(magnitude == 0, torch.inf)
        relative = error.div_(magnitude.clamp_min_(_SMALLEST_FLOAT32)).max()
        sums.append(torch.stack([within.to(torch.float32), largest, relative]))
    if not sums:
        return Difference(0, 0.0, 0.0, None)
    every = torch.stack(sums).to(torch.float64).cpu()
    max_abs, max_rel = (float(value) for value in every[:, 1:].amax(dim=0))
    is_within = bool(every[:, 0].all()) and math.isfinite(max_rel)
    return Difference(0, max_abs, max_rel, None) if is_within else None


def _errors(got: torch.Tensor, expected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(|got - expected|, |expected|) as float64, the second 0 where it is not finite.

    The error is infinite where exactly one is NaN or the infinities differ, and 0 where they agree.
    """
    if expected.is_complex():
        parts = _errors(torch.view_as_real(got), torch.view_as_real(expected))
        error, magnitude = (torch.hypot(*both.unbind(-1)) for both in parts)
        return error, magnitude.clamp_max(_LARGEST)  # a modulus near it overflows, and would allow all
    if not expected.dtype.is_floating_point:
        return _integer_errors(got, expected)
    got, expected = got.to(torch.float64), expected.to(torch.float64)
    same = (got == expected) | (got.isnan() & expected.isnan())
    error = (got - expected).abs()
    error = torch.where(error.isnan() | expected.isinf() | got.isinf(), torch.inf, error)
    return torch.where(same, 0.0, error), expected.abs().nan_to_num(0.0, posinf=0.0)


def _integer_errors(got: torch.Tensor, expected: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """|got - expected| as float64; exactly 0 where they are equal. The difference of two 64-bit integers may not fit
    one, so it is computed in floats, and is then at least 1."""
    wide_got, wide_expected = got.to(torch.int64), expected.to(torch.int64)
    unsigned = expected.dtype is torch.uint64
    as_float = [_unsigned(wide) if unsigned else wide.to(torch.float64) for wide in (wide_got, wide_expected)]
    near = wide_got - wide_expected  # exact where floats would see no difference; wraps around if they are far apart
    exact = near.abs().to(torch.float64)
    rough = (as_float[0] - as_float[1]).abs()
    error = torch.where(rough < _EXACT_IN_FLOAT, exact, rough)
    return torch.where(wide_got == wide_expected, 0.0, error.clamp_min(1.0)), as_float[1].abs()


def _unsigned(bits: torch.Tensor) -> torch.Tensor:
    """int64 read as uint64, as float64."""
    return torch.where(bits < 0, bits.to(torch.float64) + 2.0**64, bits.to(torch.float64))


def _number_of(element: torch.Tensor) -> complex:
    if element.is_complex():
        return complex(*torch.view_as_real(element).tolist())
    if element.dtype is torch.uint64:  # of which torch knows no Python number beyond int64
        return int(element.view(torch.int64)) % 2**64
    return float(element) if element.dtype.is_floating_point else int(element)


def _finite(value: float) -> float:
    """JSON has no infinity: the largest float stands for it."""
    return min(value, _LARGEST)


def _unravel(flat: int, shape: torch.Size) -> tuple[int, ...]:
    index: list[int] = []
    for extent in reversed(shape):
        index.append(flat % extent)
        flat //= extent
    return tuple(reversed(index))


def describe(name: str, difference: Difference, count: int, tolerance: Tolerance) -> str:
    """One sentence a person can act on."""
    where = f"[{', '.join(map(str, difference.worst))}]" if difference.worst else ""
    allowed = f"atol {tolerance.atol:g}, rtol {tolerance.rtol:g}"
    got, expected = _told_apart(difference.got, difference.expected)
    return (
        f"{name}: {difference.wrong} of {count} elements differ beyond {allowed}; "
        f"worst {name}{where}: got {got}, expected {expected}"
    )


def _told_apart(*values: complex | None) -> list[str]:
    """Both numbers in as few digits as a float32 takes; in more if they read the same then."""
    short = ["?" if value is None else str(value) if isinstance(value, int) else f"{value:.9g}" for value in values]
    return short if len({*short}) == len(short) else [str(value) for value in values]
