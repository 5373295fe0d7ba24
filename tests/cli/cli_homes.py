"""A home with a past: jobs that ended, made without judging anything."""

from __future__ import annotations

import json
import os
import stat
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

import daemon
from daemon import result_document, results
from daemon.callers import TAG_DIGITS, tag_of
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.models import Event, Job
from daemon.db.records import Description, Lease, NewJob, Published
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.evaluation import CaseEvaluation, Environment, Evaluation, Failure, RuntimeStats, Timing
from daemon.intake.names import make_job_id
from daemon.verdict import Comparison, Phase, Side, Verdict

TORCH_PAIR = {
    "ref_kernel": {
        "kernel_type": "torch",
        "source_code": "class Model(nn.Module):\n    def forward(self, a):\n        return a + 1\n"
        "def get_inputs():\n    return [torch.randn(64, 64)]\n",
    },
    "custom_kernel": {
        "kernel_type": "torch",
        "source_code": "class ModelNew(nn.Module):\n    def forward(self, a):\n        return torch.add(a, 1)\n",
    },
    "timing": {"max_s": 0.3, "target_rse": 0.5},
    "correctness_trials": 1,
}


def require_open_checkout() -> None:
    """Skips where other users may not read evald's own files, of a checkout in root's home, say: nothing can be run as
    one of them."""
    places = (Path(daemon.__file__), Path(sys.prefix, "lib"))
    closed = [
        folder for place in places for folder in place.resolve().parents if not folder.stat().st_mode & stat.S_IXOTH
    ]
    if closed and os.geteuid() == 0:
        pytest.skip(f"{closed[0]} is closed to other users")


def bundle(folder: Path, body: str = "return torch.add(a, 1)", **more: object) -> Path:
    """A compare of two torch kernels in `folder`; `body` is the candidate's."""
    folder.mkdir(parents=True)
    source = f"class ModelNew(nn.Module):\n    def forward(self, a):\n        {body}\n"
    custom = {**TORCH_PAIR["custom_kernel"], "source_code": source}
    (folder / "contract.json").write_text(json.dumps({**TORCH_PAIR, "custom_kernel": custom, **more}))
    return folder


def timing(mean_ms: float) -> Timing:
    stats = RuntimeStats(
        mean=mean_ms, std=0.1, min=mean_ms, max=mean_ms, median=mean_ms, percentile_95=mean_ms, percentile_99=mean_ms
    )
    return Timing(
        stats=stats,
        interval_ms=(mean_ms, mean_ms),
        mode="stream",
        samples_ms=(mean_ms, mean_ms),
        calls=(4, 4),
        c0_us=1.0,
        c0_slope_us=0.0,
        rse=0.004,
        target_rse=0.005,
        stop="precision",
    )


def passed(mean_ms: float = 1.0, ref_mean_ms: float = 2.0) -> Evaluation:
    case = CaseEvaluation(
        name="default",
        verdict=Verdict.PASSED,
        phase=Phase.REPORT,
        compiled=True,
        correctness=True,
        trials_passed=5,
        trials_total=5,
        max_abs_error=0.0,
        max_rel_error=0.0,
        timing=timing(mean_ms),
        ref_timing=timing(ref_mean_ms),
        speedup=ref_mean_ms / mean_ms,
        comparison=Comparison.FASTER,
    )
    environment = Environment(device_name="test cpu", torch="2", isolation="bubblewrap", evald="0")
    return Evaluation(
        verdict=Verdict.PASSED, phase=Phase.REPORT, cases=(case,), environment=environment, evaluate_ms=50.0
    )


def wrong() -> Evaluation:
    failure = Failure(
        phase=Phase.CHECK, side=Side.CANDIDATE, message="output differs", traceback='File "kernel.py", line 3'
    )
    case = CaseEvaluation(
        name="default",
        verdict=Verdict.WRONG_ANSWER,
        phase=Phase.CHECK,
        failure=failure,
        compiled=True,
        correctness=False,
        trials_total=5,
        max_abs_error=3.5,
        worst_output="out",
        worst_index=(1, 2),
        stderr_tail="\x1b[31mhello from the kernel",
    )
    return Evaluation(verdict=Verdict.WRONG_ANSWER, phase=Phase.CHECK, message="output differs", cases=(case,))


@dataclass
class PastHome:
    """A home, and how to put jobs into its past."""

    settings: Settings

    def __post_init__(self) -> None:
        self.settings.paths.create()
        migrate.ensure_ready(self.settings.database_url)
        self.database = Database(self.settings.database_url)
        self.repository = Repository(self.database)
        self.daemons = DaemonRepository(self.database)

    def queued(self, name: str, uid: int = 1000, caller: str | None = None) -> str:
        """A job that waits to be judged, its bundle in `work/`."""
        job_id = make_job_id() if caller is None else make_job_id()[:-TAG_DIGITS] + tag_of(caller)
        work_name = f"{name}@host-boot-1-{job_id}"
        (self.settings.paths.work / work_name).mkdir()
        self.repository.register(NewJob(job_id, name, work_name, uid, datetime.now(UTC), 10))
        return job_id

    def leased(self, name: str) -> Lease:
        """A job that is being judged."""
        lease = self.repository.lease(self.queued(name), "host-boot-1", 600)
        assert lease is not None
        self.repository.start(lease)
        self.repository.heartbeat(lease, 600, "checking 3/5")
        return lease

    def withdrawn(self, name: str, uid: int = 1000) -> str:
        """A job whose bundle a stopping daemon took out of `work/`."""
        job_id = self.queued(name, uid)
        self.repository.withdraw(job_id)
        (self.settings.paths.work / f"{name}@host-boot-1-{job_id}").rmdir()
        return job_id

    def age(self, job_id: str, days: float) -> None:
        """Let all that happened to a job have happened `days` ago."""
        moment = datetime.now(UTC) - timedelta(days=days)
        with self.database.write() as connection:
            connection.execute(update(Job).where(Job.id == job_id).values(created_at=moment))
            connection.execute(update(Event).where(Event.job_id == job_id).values(at=moment))

    def deferred(self, name: str, reason: str, owner: str = "host-boot-1") -> str:
        """A job that waits for a device which the host of `owner` does not have."""
        lease = self.repository.lease(self.queued(name), owner, 600)
        assert lease is not None
        self.repository.defer(lease, reason)
        return lease.job_id

    def ended(
        self,
        name: str,
        evaluation: Evaluation,
        *,
        days_ago: float = 0,
        problem: str | None = None,
        uid: int = 1000,
        contract_sha256: str | None = None,
        caller: str | None = None,
    ) -> str:
        """A job that ended, with result files and its bundle in the archive. `caller`: who sent it over HTTP."""
        lease = self.repository.lease(self.queued(name, uid, caller), "host-boot-1", 600)
        assert lease is not None
        paths, job_id = self.settings.paths, lease.job_id
        labels = {"author": "anna"}
        told = {"contract_sha256": contract_sha256, "source_sha256": contract_sha256}
        self.repository.describe(
            job_id, Description("compare", "torch", "torch", problem=problem, labels=labels, **told)
        )
        moment = datetime.now(UTC) - timedelta(days=days_ago)
        document = result_document.compose(result_document.Subject(job_id, name, problem, labels), evaluation, moment)
        staged = results.stage(paths, document, evaluation, lease.fence)
        self.repository.publish(lease, Published(evaluation, document, 12.0))
        results.release(paths, staged, moment, name, lease.submitter_uid)
        (paths.work / f"{name}@host-boot-1-{job_id}").rename(paths.archive / f"{name}@{job_id}")
        with self.database.write() as connection:
            connection.execute(update(Job).where(Job.id == job_id).values(finished_at=moment))
        return job_id
