"""Answers that take no work, and whether a tolerance would accept them: then passing says little about a kernel."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch

from daemon.executor.cases.verify import CHUNK, SAFELY, Tolerance, compare, fits_float32, pieces
from daemon.executor.content.arena import raw
from daemon.executor.timing.side import SidePlace

_INPUTS_TRIED = 1024  # on all outputs together
_TELLING = 1 << 12  # elements of the first piece, which mostly tells
_SAMPLE = 1 << 14
_NEARLY_ALL = 0.95


def weak_controls(
    reference: SidePlace,
    tolerances: list[Tolerance],
    inputs: list[torch.Tensor],
    earlier: list[torch.Tensor] | None = None,
) -> list[str]:
    """The outputs for which a trivial answer would have passed, and which answer, where that means something: it would
    have passed for all outputs, or for one although it is not what the reference says. `earlier`: what was right for
    other inputs. An answer that would have passed in nearly all elements counts as well: where a few are large, as in a
    sharp softmax, a kernel may leave out the rest.

    A module may hand an input on beside its answer. Then the input is the right answer there, and the check proves the
    rest.
    """
    found, are_all, is_near = [], True, False
    answers = reference.answers(0)
    alike: dict[int, list[tuple[int, torch.Tensor]]] = {}
    for number, tensor in enumerate(inputs):
        alike.setdefault(tensor.numel(), []).append((number, tensor))
    told = zip(answers, tolerances, earlier or itertools.repeat(None), strict=False)
    for number, ((name, expected), tolerance, before) in enumerate(told):
        if expected.numel():
            tried = _about_there(alike.get(expected.numel(), []), number, len(answers))
            inputs_as_it = {place: tensor.reshape(expected.shape) for place, tensor in tried}
            passing = passes_by_accident(expected, inputs_as_it, tolerance, before)
            found += [f"{name}: {' or '.join(sorted(passing))}"] if passing else []
            are_all &= bool(passing)
            is_near |= bool(passing) and not any(passing.values())
            if not passing and (nearly := _passes_nearly_everywhere(expected, tolerance, before)):
                found.append(f"{name}: {nearly}")
                is_near = True
    return found if are_all or is_near else []


def _about_there(inputs: list[tuple[int, torch.Tensor]], number: int, outputs: int) -> list[tuple[int, torch.Tensor]]:
    """All inputs. If there are too many, those at about the place that output `number` has among `outputs`: a step of
    an optimizer has a thousand of both, and to try each on each takes hours."""
    most = max(1, _INPUTS_TRIED // outputs)
    first = number * max(len(inputs) - most, 0) // max(outputs - 1, 1)
    return inputs[first : first + most]


def passes_by_accident(
    expected: torch.Tensor,
    inputs: Mapping[int, torch.Tensor],
    tolerance: Tolerance,
    earlier: torch.Tensor | None = None,
) -> dict[str, bool]:
    """The trivial answers that this tolerance would accept, and whether they are exactly right: zeros, a constant, an
    input passed on (`inputs`: of this shape, by their number), and what was right for `earlier` inputs.

    A single element is no constant: it is a number that nobody knows. An input of another dtype has to be cast; where
    the cast is exactly right, that is all the work there is.
    """
    trivial = [("zeros", expected.new_zeros(1))]
    if expected.numel() > 1:
        trivial.append(("a constant", _typical(expected)))
    if earlier is not None:
        trivial.append(("an earlier answer", earlier))
    casts = {
        f"input {number} cast": tensor if expected.is_complex() else tensor.real  # of complex ones, what a cast keeps
        for number, tensor in inputs.items()
        if tensor.dtype != expected.dtype
    }
    trivial += casts.items()
    trivial += [(f"input {number} passed on", one) for number, one in inputs.items() if one.dtype == expected.dtype]
    errors = {name: _error(answer.reshape(-1), expected.reshape(-1), tolerance) for name, answer in trivial}
    passing = {name: error for name, error in errors.items() if error is not None}
    return {name: error == 0 for name, error in passing.items() if error or name not in casts}


def _passes_nearly_everywhere(expected: torch.Tensor, tolerance: Tolerance, earlier: torch.Tensor | None) -> str:
    """The trivial answer that this tolerance would accept in nearly all of the elements for which it is not exactly
    right, and in how many; empty if there is none. Judged by a sample, which is the same each time."""
    flat = expected.reshape(-1)
    places = _sample(flat.numel()).to(flat.device)
    some = _at(flat, places)
    trivial = {"zeros": torch.zeros_like(some)}
    if flat.numel() > 1:
        trivial["a constant"] = _typical(some).expand_as(some).contiguous()
    if earlier is not None:
        trivial["an earlier answer"] = _at(earlier.reshape(-1), places)
    for name, answer in trivial.items():
        wrong = compare(answer, some, tolerance).wrong
        if wrong > (1 - _NEARLY_ALL) * some.numel():
            continue
        differing = compare(answer, some, Tolerance(0.0, 0.0)).wrong
        if differing and 1 - wrong / differing >= _NEARLY_ALL:
            return f"{name} in {1000 * (differing - wrong) // differing / 10:g} % of its elements"
    return ""


def _at(flat: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """The elements at these places. As integers, for on a GPU torch indexes no uint16, uint32 or uint64."""
    return raw(flat)[places].view(flat.dtype).reshape(-1)


def _sample(count: int) -> torch.Tensor:
    """Places among `count` elements: all of a few; of many some, by chance, for evenly spaced ones may all be of one
    column."""
    if count <= _SAMPLE:
        return torch.arange(count)
    return torch.randint(count, (_SAMPLE,), generator=torch.Generator().manual_seed(0))


def _typical(expected: torch.Tensor) -> torch.Tensor:
    """The mean of floats, else the first element."""
    if not expected.dtype.is_floating_point:
        return expected.reshape(-1)[:1]
    total = torch.zeros((), dtype=torch.float64, device=expected.device)
    for (piece,) in pieces(expected):
        total += piece.to(torch.float64).sum()
    return (total / expected.numel()).to(expected.dtype)


def _error(answer: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> float | None:
    """By how much a flat answer (or its one element, everywhere) misses `expected` at most; None where it does not
    pass. Ends at the first piece that does not pass, which is mostly a small one, so that gigabytes are not copied."""
    largest = 0.0
    for start, end in itertools.pairwise(_starts(expected.numel())):
        piece = expected[start:end]
        given = (answer.expand_as(piece) if answer.numel() == 1 else answer[start:end]).to(expected.dtype)
        if _is_beyond(given, piece, tolerance):
            return None
        difference = compare(given, piece, tolerance)
        if difference.wrong:
            return None
        largest = max(largest, difference.max_abs)
    return largest


def _is_beyond(got: torch.Tensor, expected: torch.Tensor, tolerance: Tolerance) -> bool:
    """Whether an element is certainly beyond its tolerance, found with one wait for the device. False: look closer. In
    float32, as `safely_within`."""
    if not fits_float32(expected.dtype, tolerance):
        return False
    given, wanted = got.to(torch.float32), expected.to(torch.float32)
    allowance = torch.mul(wanted.abs(), tolerance.rtol).add_(tolerance.atol)
    error = torch.sub(given, wanted).abs_()
    return bool((error.mul_(SAFELY) > allowance).logical_and_(error.isfinite()).any())


def _starts(count: int) -> list[int]:
    """Where pieces of so many elements begin and end: first a small one, then large ones."""
    return [0, *range(min(_TELLING, count), count, CHUNK), count] if count else []
