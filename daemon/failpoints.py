"""Named places where a test may kill this process, at every durable step. Silent unless EVALD_TEST_FAILPOINTS is set.

`EVALD_TEST_FAILPOINTS="staged=0.1,published=1"` kills with SIGKILL at these points with these probabilities: as abrupt
as a power cut of the process can be. Every name is listed in `STEPS`; `hit` refuses one that is not, so a test cannot
wait for a step in vain.
"""

from __future__ import annotations

import os
import random
import signal

STEPS = (
    "claim.begin",
    "claim.renamed",
    "claim.registered",
    "lease.taken",
    "copy.done",
    "run.deferred",
    "run.started",
    "run.evaluated",
    "result.staged",
    "result.published",
    "result.named",
    "result.released",
    "bundle.archived",
    "reconcile.begin",
    "reconcile.replayed",
    "reconcile.settled",
    "give_back.withdrawn",
    "give_back.renamed",
)
_VARIABLE = "EVALD_TEST_FAILPOINTS"


def _parse(text: str) -> dict[str, float]:
    chances: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, chance = part.partition("=")
        if name not in STEPS:
            raise ValueError(f"{_VARIABLE}: no failpoint {name!r}; there are {', '.join(STEPS)}")
        chances[name] = float(chance or 1)
    return chances


_CHANCES = _parse(os.environ.get(_VARIABLE, ""))


def hit(step: str) -> None:
    """Die here, if the test wants so."""
    if step not in STEPS:
        raise ValueError(f"unknown failpoint {step!r}")
    if _CHANCES and random.random() < _CHANCES.get(step, 0.0):  # noqa: S311 - a test's dice
        os.kill(os.getpid(), signal.SIGKILL)
