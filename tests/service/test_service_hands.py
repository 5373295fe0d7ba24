"""A job whose lease ran out while the database was away, and that a slot is still at, is not begun a second time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from service_bundles import drop, wait_for

from daemon import service
from daemon.config import Settings
from daemon.db.history import History
from daemon.engine import JobSpec, Progress
from daemon.evaluation import Evaluation
from daemon.executor.rehearsal import RehearsalEngine
from daemon.lifecycle import JobState


class Slow(RehearsalEngine):
    """Judges until it is told to end, and counts how many it judges at the same time."""

    def __init__(self) -> None:
        super().__init__(2, 0.0)
        self.end = threading.Event()
        self.at_work: list[str] = []
        self.twice = False

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        self.twice = self.twice or job.job_id in self.at_work
        self.at_work.append(job.job_id)
        self.end.wait(60)
        try:
            return super().evaluate(job, on_progress)
        finally:
            self.at_work.remove(job.job_id)

    def cancel(self, job_id: str) -> None:
        """It takes its time."""


def test_a_job_that_a_slot_is_still_at_is_not_begun_again(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", quiet_s=0.1, scan_interval_s=0.1, min_free_bytes=1, lease_s=600)
    settings.paths.create()
    service.migrate.ensure_ready(settings.database_url)
    engine = Slow()
    daemon = service.Service(settings, engine, service.Silence())
    thread = threading.Thread(target=daemon.run)
    thread.start()
    try:
        drop(tmp_path / "home", "kept")
        wait_for(lambda: engine.at_work, "the job to begin")
        job_id = engine.at_work[0]
        assert daemon._repository.expire(daemon._spool.owner.tag) == ()
        [lease] = daemon._repository.held_by(daemon._spool.owner.tag)
        daemon._repository.retry(lease, "as if its lease had run out")
        attempts = lambda: History(daemon._database).attempts(job_id)  # noqa: E731
        wait_for(lambda: any("has not let go" in (one.reason or "") for one in attempts()), "the second slot to look")
        assert not engine.twice
        engine.end.set()
        wait_for(lambda: _state(daemon, job_id) is JobState.FINISHED, "the job to be judged")
        assert not engine.twice
    finally:
        engine.end.set()
        daemon.stop()
        thread.join(60)


def _state(daemon: service.Service, job_id: str) -> JobState | None:
    job = History(daemon._database).job(job_id)
    return job.state if job else None
