"""The seam between "which job next" and "how a job is judged". Local and distributed engines share this and one test
suite.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daemon.contract import Requirements
from daemon.errors import LostClaim
from daemon.evaluation import Evaluation

ANY_DEVICE = Requirements()


@dataclass(frozen=True)
class JobSpec:
    """One job to judge.

    `bundle_dir`: a private, verified copy with `contract.json` and the files it names; nothing writes to it.
    `requires`: which device may judge it, where there are several. `kernel_types`: the types of its kernels, where they
    are known already.
    """

    job_id: str
    name: str
    bundle_dir: Path
    requires: Requirements = ANY_DEVICE
    kernel_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Where an evaluation is now, for people: `text` is short ("checking 3/5"), `case` names the case if there are
    several.
    """

    job_id: str
    text: str
    case: str | None = None


@dataclass(frozen=True)
class DeviceState:
    """One device that jobs are judged on, as it is now. `reason`: why it takes no job; None while it does. `drift`: how
    its speed changed, for people to look into; it takes jobs nevertheless."""

    slot: int
    kind: str  # "cpu", "cuda", or "none" where nothing is judged
    name: str
    uuid: str | None
    reason: str | None = None
    drift: str | None = None

    @property
    def key(self) -> str:
        """What tells it from every other device of its host: a GPU's UUID, or the kind."""
        return self.uuid or self.kind


class Engine(Protocol):
    """Judges one job at a time per call; `evaluate` may be called from several threads, up to `at_once`."""

    @property
    def slots(self) -> int:
        """How many jobs may be evaluated at the same time."""

    @property
    def at_once(self) -> int:
        """How many jobs it wants to be given at the same time: one for each slot, plus those that it prepares
        meanwhile."""

    @property
    def silence_s(self) -> float:
        """How long `evaluate` may go on without a word of progress before it gives up by itself."""

    def devices(self) -> tuple[DeviceState, ...]:
        """What this engine judges on, one per slot, in the order of the slots. Never blocks."""

    def refusal(self, requires: Requirements) -> str | None:
        """Why no device of this engine can ever serve `requires`, in words for people; None when one can."""

    def ready(self) -> None:
        """Make sure that a job could be judged now; cheap when nothing has failed since the last call.

        Raises `HarnessError` or `OperatorError` with the reason. Called before a job is leased, so that a host that
        cannot judge burns nobody's attempts.
        """

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        """Judge `job`. Blocks until judged.

        Raises `HarnessError` when the engine, not the bundle, failed (retry elsewhere or later), and `LostClaim` when
        `cancel` was called for this job.
        """

    def cancel(self, job_id: str) -> None:
        """Stop judging `job_id` at once and kill everything it started. Harmless when it is not running."""

    def close(self) -> None:
        """Stop every judge and cell. Idempotent."""


def given_up(job_id: str) -> LostClaim:
    """What `evaluate` raises of a job that was cancelled, or that the engine was closed over."""
    return LostClaim(f"job {job_id} is not to be judged any more")
