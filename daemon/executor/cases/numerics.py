"""How exact the answers are, beside how fast: against the reference run in float64, and from one run to the next.

A tolerance says whether an answer is right enough. It does not tell a kernel that computes in half the precision from
an honest one. So the reference is run once more in float64, where it can be. Two errors against that are shown side by
side: the candidate's, and the one that the honest computation makes itself. The answers are those of a timed call. So a
kernel that is exact when it is checked and coarse when it is timed must know the round and the slot, and it cannot.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from daemon.evaluation import Numerics
from daemon.executor.cases.kept_calls import TimedCall
from daemon.executor.cases.verify import pieces
from daemon.executor.cells.endings import CellFailed
from daemon.executor.content.arena import raw
from daemon.executor.content.exports import Export
from daemon.executor.content.wiring import CannotWire
from daemon.executor.shared.layout import TensorShape

_WORSE = 8.0
_COARSER_THAN_FLOAT64 = 1e-12
# Elements far smaller than the rest are looked at by themselves if there are many; so are those far smaller than these.
_FAR_SMALLER = 1 / 32
_MANY = 1 / 32
_LAYERS = 8
_WORSE_WHERE_SMALL = 64.0  # of a large number's exponential, one library errs ten times as much as another
_TOLD_APART = 1e-3  # how exact the reference must be there: what cancels out is noise on both sides
_NOT_THE_SAME = "run in float64, the reference answers something else"
_ANOTHER_ANSWER = 0.5  # relative error of a reference that answers something else in float64, or nothing sensible
_TINY = torch.finfo(torch.float64).tiny
_LARGEST = torch.finfo(torch.float64).max


@dataclass(frozen=True)
class _Gap:
    """Over all elements that are finite in the exact answer, or over the small ones among them: the largest error, and
    the sums of squares of errors and of the answer, in one unit."""

    max_abs: float
    squares: float
    exact_squares: float
    unit: float = 1.0
    count: int = 0

    @property
    def relative_rms(self) -> float:
        """Root mean square of the error over that of the exact answer; as it is where that is zero."""
        return min(math.sqrt(self.squares / max(self.exact_squares, _TINY)), _LARGEST)

    @property
    def rms(self) -> float:
        """Root mean square of the error."""
        return math.sqrt(self.squares / max(self.count, 1)) * self.unit

    @property
    def exact_rms(self) -> float:
        """Root mean square of the exact answer."""
        return math.sqrt(self.exact_squares / max(self.count, 1)) * self.unit


@dataclass(frozen=True)
class _Gaps:
    """Of one output, the candidate's and the reference's. `rounding`: of its dtype."""

    ours: _Gap
    theirs: _Gap
    rounding: float

    @property
    def excess(self) -> float:
        """Beyond 1, it is less exact than an honest computation."""
        return self.ours.relative_rms / _allowed(self.theirs.relative_rms, self.rounding)

    @property
    def far_worse(self) -> bool:
        """For small elements: whether the error is larger than any order of sums or choice of functions makes it."""
        floor = _floor(self.rounding)
        return (
            self.theirs.relative_rms < _TOLD_APART
            and self.ours.relative_rms > _WORSE_WHERE_SMALL * max(self.theirs.relative_rms, floor)
            and self.ours.rms > floor  # less is what adding one to it and taking it away costs
        )


def spread_of(first: list[torch.Tensor], second: list[torch.Tensor]) -> Numerics:
    """How far two runs of one kernel on the same inputs are apart."""
    differing, largest, rounding = 0, 0.0, 0.0
    for one, other in itertools.chain.from_iterable(map(pieces, first, second)):
        differing += int(torch.count_nonzero(raw(one) != raw(other)))
        if _is_rounded(one):
            apart = (_exactly(one) - _exactly(other)).abs().nan_to_num(0.0, posinf=0.0)
            largest, rounding = max(largest, float(apart.max())), max(rounding, torch.finfo(one.dtype).eps)
    return Numerics(differing_elements=differing, max_abs_spread=largest, rounding=rounding)


def against_exact(known: Numerics, call: TimedCall, exact: Export, deadline: float) -> Numerics:
    """`known`, with the errors of both sides' answers against `exact`: the reference on the same inputs in float64.

    Never raises for what the reference's cell does. Where it cannot be run in float64, a note says so.
    """
    try:
        exact.describe(0, deadline)
        pairs = list(itertools.zip_longest(call.reference, exact.shapes))
        if any(not _have_one_shape(*pair) for pair in pairs) or not any(_is_exact(*pair) for pair in pairs):
            return known.model_copy(update={"note": "run in float64, the reference answers in other shapes or dtypes"})
        answers = exact.tensors(deadline)
    except (CellFailed, CannotWire) as problem:
        return known.model_copy(update={"note": f"the reference cannot be run in float64: {problem}"[:500]})
    rounded = [
        (ours, theirs, wanted)
        for ours, theirs, wanted in zip(call.candidate, call.reference, answers, strict=True)
        if _is_rounded(ours) and ours.numel() and wanted.dtype is _exact_dtype(theirs.dtype)
    ]
    gaps = [gap for three in rounded for gap in _gaps(*three)]
    if rounded and not gaps:
        return known.model_copy(update={"note": _NOT_THE_SAME})
    nothing = _Gaps(_Gap(0.0, 0.0, 0.0), _Gap(0.0, 0.0, 0.0), known.rounding)
    worst = max(gaps, key=lambda gap: gap.excess, default=nothing)
    figures = {
        "max_abs_error": max((gap.ours.max_abs for gap in gaps), default=0.0),
        "rms_error": worst.ours.relative_rms,
        "ref_max_abs_error": max((gap.theirs.max_abs for gap in gaps), default=0.0),
        "ref_rms_error": worst.theirs.relative_rms,
        "rounding": worst.rounding,
    }
    return known.model_copy(update=figures)


def _have_one_shape(answer: torch.Tensor | None, exact: TensorShape | None) -> bool:
    return answer is not None and exact is not None and answer.shape == exact.shape


def _is_exact(answer: torch.Tensor, exact: TensorShape) -> bool:
    """Whether it is in float64. An output that the source rounds, whatever it is given, tells nothing; the others
    do."""
    return getattr(torch, exact.dtype) is _exact_dtype(answer.dtype)


def _exact_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype.is_complex else torch.float64 if dtype.is_floating_point else dtype


def labels(numerics: Numerics) -> list[str]:
    """Labels for answers that change from run to run, and for errors far beyond the honest computation's own."""
    found = []
    if numerics.differing_elements:
        found.append("nondeterministic")
    ours, theirs = numerics.rms_error, numerics.ref_rms_error
    if ours is not None and theirs is not None and ours > _allowed(theirs, numerics.rounding):
        found.append("less_exact")
    return found


def _allowed(theirs: float, rounding: float) -> float:
    """The error that an honest computation may make, where the reference's is `theirs`."""
    return max(_WORSE * theirs, _floor(rounding))


def _floor(rounding: float) -> float:
    """Errors up to this one are not labelled. A reference of float64 is itself what answers are compared with: there
    the order of a sum alone makes a candidate err more, and only a coarser format is worth a label."""
    return _COARSER_THAN_FLOAT64 if rounding <= torch.finfo(torch.float64).eps else rounding


def _is_rounded(answer: torch.Tensor) -> bool:
    return answer.dtype.is_floating_point or answer.dtype.is_complex


def _exactly(tensor: torch.Tensor) -> torch.Tensor:
    """As float64, a complex number as two."""
    return (torch.view_as_real(tensor) if tensor.is_complex() else tensor).to(torch.float64)


def _gaps(ours: torch.Tensor, theirs: torch.Tensor, exact: torch.Tensor) -> Iterator[_Gaps]:
    """The gap over all elements of an output; and over those that are far smaller, if the candidate is far worse there.
    None where the reference's own answer is another one in float64: a kernel that it launches reads what it is given as
    float32 whatever that is, or it draws random numbers.

    A few large rows, or a mask's -1e9, make up nearly all of a root mean square, so errors of the other elements do not
    show in it.
    """
    rounding = torch.finfo(ours.dtype).eps
    whole = _Gaps(_gap(ours, exact), _gap(theirs, exact), rounding)
    if whole.theirs.relative_rms > _ANOTHER_ANSWER:
        return
    yield whole
    bound, all_of_them = whole.theirs.exact_rms * _FAR_SMALLER, whole.theirs.count
    for _ in range(_LAYERS):
        if _count_small(exact, bound) < all_of_them * _MANY:
            return
        small = _Gaps(_gap(ours, exact, bound), _gap(theirs, exact, bound), rounding)
        if small.far_worse:
            yield small
        bound = small.theirs.exact_rms * _FAR_SMALLER


def _count_small(exact: torch.Tensor, bound: float) -> int:
    return sum(int(torch.count_nonzero(_small(_exactly(wanted), bound))) for (wanted,) in pieces(exact))


def _small(exact: torch.Tensor, bound: float) -> torch.Tensor:
    return (exact.abs() <= bound) & (exact != 0)


def _gap(answer: torch.Tensor, exact: torch.Tensor, bound: float | None = None) -> _Gap:
    """`bound`: of elements no larger than that, and not zero."""

    def counted(wanted: torch.Tensor) -> torch.Tensor:
        return wanted.isfinite() if bound is None else _small(wanted, bound)

    def known(wanted: torch.Tensor) -> torch.Tensor:
        return torch.where(counted(wanted), wanted, 0.0)

    # In units of the largest: squares of very large or small numbers would overflow or vanish.
    unit = max((float(known(_exactly(wanted)).abs().max()) for (wanted,) in pieces(exact)), default=0.0) or 1.0
    largest, squares, exact_squares, count = 0.0, 0.0, 0.0, 0
    for got, piece in pieces(answer, exact):
        wanted = _exactly(piece)
        chosen = counted(wanted)
        error = torch.where(chosen, _exactly(got) - known(wanted), 0.0)
        largest = max(largest, float(error.nan_to_num(_LARGEST**0.25).abs().max()))
        squares += float((error / unit).nan_to_num(_LARGEST**0.25).square().sum())
        exact_squares += float((known(wanted) / unit).square().sum())
        count += int(torch.count_nonzero(chosen))
    return _Gap(largest, squares, exact_squares, unit, count)
