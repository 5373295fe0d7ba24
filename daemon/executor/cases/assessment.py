"""What is told about a candidate's answers besides right or wrong, after the clock has stopped: whether they repeat,
and how near they are to those of the reference in float64."""

from __future__ import annotations

import time

from daemon.evaluation import Numerics
from daemon.executor.cases import numerics
from daemon.executor.cases.findings import Inspector
from daemon.executor.cases.kept_calls import TimedCall, answers_of, too_large
from daemon.executor.cases.preparation import Preparation
from daemon.executor.cases.trials import Trials
from daemon.executor.content.drawing import Drawer
from daemon.verdict import Phase, Side

_TRIAL = 1 << 20  # the number of the trial that these calls are
_EXACT_LIMIT_S = 10.0
_OWN_DTYPES = "the reference cannot be run in float64: its kernel says itself what its arguments are"


def assess(
    ready: Preparation,
    trials: Trials,
    drawer: Drawer,
    inspector: Inspector,
    timed_call: TimedCall | None,
    deadline: float,
) -> tuple[Numerics | None, list[str]]:
    """Run the candidate twice more on fresh inputs, the reference as often as need be, and the reference in float64 on
    the inputs of `timed_call`. Returns what was found (None where tensors are too large to hold copies), and labels.

    Raises `CellFailed` for an answer that is wrong this time.
    """
    candidate, reference = inspector.candidate, inspector.reference
    places = [candidate] if reference is None else [candidate, reference]
    if too_large(places):
        ready.notes.append("numerics: not assessed, the tensors of a call are too large to hold copies")
        return None, []
    values = drawer.draw("check", _TRIAL, [0], deadline=deadline)
    for place in places:
        trials.call(place, values, _TRIAL, deadline)
    inspector.inspect([0], Phase.MEASURE)
    first = answers_of(candidate)
    expected = answers_of(reference) if reference is not None else []
    trials.call(candidate, values, _TRIAL, deadline, again=True)
    found = numerics.spread_of(first, answers_of(candidate))
    changes_as_well = False
    if reference is not None and found.differing_elements:  # both may keep what they saw, over all calls
        trials.call(reference, values, _TRIAL, deadline, again=True)
        changes_as_well = bool(numerics.spread_of(expected, answers_of(reference)).differing_elements)
    inspector.inspect([0], Phase.MEASURE)
    if reference is not None and timed_call is not None:
        if ready.backend(Side.REFERENCE).answers == "args":
            found = found.model_copy(update={"note": _OWN_DTYPES})
        else:
            limit = min(deadline, time.monotonic() + _EXACT_LIMIT_S)
            reference.fill([0], timed_call.inputs)
            reference.hand_over([0])
            exact = ready.export(reference.cell, "exact", Phase.MEASURE)
            found = numerics.against_exact(found, timed_call, exact, limit)
    labels = numerics.labels(found)
    if changes_as_well and "nondeterministic" in labels:
        labels.remove("nondeterministic")
        ready.notes.append("two calls on the same inputs answer differently, as the reference's do")
    return found, labels
