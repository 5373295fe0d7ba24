"""Following many submitted jobs costs little: on a CPU kernels are being timed meanwhile."""

from __future__ import annotations

import uuid
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, event

from daemon import results
from daemon.cli import waiting
from daemon.cli.outcome import Line
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.records import NewJob, Published
from daemon.db.repository import Repository
from daemon.intake.submit import Dropped


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    made = Settings(home=tmp_path / "home")
    made.paths.create()
    migrate.ensure_ready(made.database_url)
    return made


def submitted(repository: Repository, count: int) -> list[Dropped]:
    """Jobs that are queued, and twice as many bundles that nobody has claimed."""
    ids = [uuid.uuid4().hex for _ in range(3 * count)]
    for job_id in ids[:count]:
        repository.register(NewJob(job_id, "many", f"many@here-1-1-{job_id}", 1000, datetime.now(UTC), 1))
    return [Dropped("many", job_id) for job_id in ids]


def test_a_look_at_many_jobs_asks_no_more_questions_than_one_at_a_few(settings: Settings) -> None:
    repository = Repository(Database(settings.database_url))
    asked: Counter[int] = Counter()
    few, many = submitted(repository, 2), submitted(repository, 40)
    for dropped in (few, many):

        def count(*_: object, size: int = len(dropped)) -> None:
            asked[size] += 1

        event.listen(Engine, "before_cursor_execute", count)
        try:
            assert waiting._look(settings, dropped, {}) == ([], (), False)
        finally:
            event.remove(Engine, "before_cursor_execute", count)
    assert asked[len(many)] == asked[len(few)] > 0


def test_a_look_tells_what_runs_what_has_ended_and_why_others_wait(settings: Settings) -> None:
    repository = Repository(Database(settings.database_url))
    running, ended, deferred, *_ = dropped = submitted(repository, 3)
    for one, owner in ((running, "here-1-1"), (ended, "here-1-1"), (deferred, "there-1-1")):
        lease = repository.lease(one.job_id, owner, 60)
        assert lease is not None
        if one is ended:
            evaluation = results.rejected("no contract")
            repository.publish(lease, Published(evaluation, {}))
        elif one is deferred:
            repository.defer(lease, "no GPU")
    lines: dict[str, Line] = {}
    states, deferrals, is_served = waiting._look(settings, dropped, lines)
    assert (states, is_served) == (["many: claimed"], True)
    assert [(one.job_id, one.reason) for one in deferrals] == [(deferred.job_id, "no GPU")]
    assert list(lines) == [ended.job_id]
