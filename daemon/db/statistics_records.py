"""Figures over many jobs as they cross the border of the database room: frozen, and free of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from daemon.verdict import Comparison, Verdict


@dataclass(frozen=True)
class StatsRow:
    """Finished and broken jobs of one group. Runtimes and speedup are those of passed jobs, milliseconds."""

    key: str | None
    count: int
    passed: int
    pass_share: float
    best_runtime_ms: float | None
    median_runtime_ms: float | None
    best_speedup: float | None
    mean_evaluate_ms: float | None
    median_queue_ms: float | None
    p95_queue_ms: float | None


@dataclass(frozen=True)
class Spread:
    """How a duration was distributed, milliseconds. None: nothing was counted."""

    count: int
    mean: float | None
    median: float | None
    percentile_95: float | None


@dataclass(frozen=True)
class Busy:
    """How busy one daemon was: the share of the time that its slots spent on jobs, 0 to 1. `devices`: their names."""

    owner: str
    host: str
    slots: int
    devices: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Activity:
    """What a service did in the last `window`. `finished`: how many jobs ended in the last minute, hour and so on."""

    window: timedelta
    verdicts: Mapping[Verdict, int]
    queue_ms: Spread
    evaluate_ms: Spread
    compile_ms: Spread
    finished: Mapping[str, int]
    busy: tuple[Busy, ...]


@dataclass(frozen=True)
class Standing:
    """The fastest bundle of one name of one submitter, in a problem on one device. Rank 1 is the fastest there.

    `runs`: how often that very bundle has passed; the run in the middle stands here. `failed_runs`: how often it was
    wrong, crashed or took too long there, whatever its submitter called it. `caller`: by what name its submitter came
    over HTTP. `labels`: of its answers and its times, in all of its cases.
    """

    rank: int
    job_id: str
    name: str
    submitter_uid: int | None
    runtime_ms: float
    ref_runtime_ms: float | None
    speedup: float | None
    device_name: str | None
    source_sha256: str | None
    finished_at: datetime
    runs: int
    comparison: Comparison | None
    caller: str | None = None
    labels: tuple[str, ...] = ()
    failed_runs: int = 0
