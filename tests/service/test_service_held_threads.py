"""One thread of a daemon is late, at a place of its way: the others, a user or another daemon go on meanwhile, and the
books are right in the end."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from held_threads import LIMIT_S, Place, Threads
from service_rehearsal import SOURCE
from waiting import wait_for

from daemon import service
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import JobRecord
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.engine import JobSpec, Progress
from daemon.errors import HarnessError
from daemon.evaluation import Evaluation
from daemon.executor.rehearsal import RehearsalEngine
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.lifecycle import JobState
from daemon.listener import Silence
from daemon.publishing import Publisher
from daemon.scheduler import faults, workers

_ID = "0198c0ffee00700080000000000000aa"
_GOES_ON_S = 0.4  # what others do meanwhile is done, mostly: how much of it, changes only what is met
_SAMPLE = 60
_ACTIONS = ("nothing", "lost", "cancelled", "again", "stopped", "drained")
_HELD = (
    (Place("slot", "Runner.work"), "lost"),
    (Place("slot", "Publisher.publish"), "cancelled"),
    (Place("slot", "Repository.attach_result"), "nothing"),
    (Place("main", "Reconciler._settle"), "nothing"),
    (Place("main", "Clerk.register"), "again"),
    (Place("slot", "Repository.lease_next", 2), "stopped"),
)


class Unlucky(RehearsalEngine):
    """Its judge dies of one bundle, each time."""

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        if job.name == "unlucky":
            raise HarnessError("the judge died")
        return super().evaluate(job, on_progress)


@dataclass
class Scene:
    """One home and the daemon on it, and what there is to be done to them."""

    home: Path
    dropped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = {"quiet_s": 0.1, "scan_interval_s": 0.05, "reconcile_s": 0.1, "min_free_bytes": 1}
        self.settings = Settings(home=self.home, slots=2, max_attempts=2, lease_s=600, **options)
        self.settings.paths.create()
        migrate.ensure_ready(self.settings.database_url)
        self.database = Database(self.settings.database_url)
        self.repository, self.history = Repository(self.database, max_attempts=2), History(self.database)
        self.daemons = DaemonRepository(self.database)
        self.outside = self.home / "outside"
        self.outside.mkdir()

    @contextmanager
    def daemon(self) -> Iterator[service.Service]:
        running = service.Service(self.settings, Unlucky(2, 0.02), Silence())
        thread = threading.Thread(target=running.run, name="main")
        thread.start()
        try:
            yield running
        finally:
            running.stop()
            thread.join(LIMIT_S)
            assert not thread.is_alive(), "it does not stop"

    def drop(self, name: str, job_id: str | None = None) -> None:
        entry = self.settings.paths.inbox / (f"{name}.json@{job_id}" if job_id else f"{name}.json")
        if not entry.exists():  # else its sender would replace what nobody has claimed
            document = {"name": name, "kernel": {"kernel_type": "torch", "source_code": SOURCE}}
            (self.outside / name).write_text(json.dumps(document), "utf-8")
            (self.outside / name).rename(entry)
            self.dropped.append(name)

    def drop_some(self) -> None:
        self.drop("plain")
        self.drop("own", _ID)

    def jobs(self) -> list[JobRecord]:
        """Without those that stand for a bundle which has come again as another."""
        return [job for job in self.history.jobs(limit=1000).jobs if job.state is not JobState.WITHDRAWN]

    def unfinished(self) -> list[str]:
        return [job.job_id for job in self.jobs() if not job.state.final]

    def is_done(self) -> bool:
        paths = self.settings.paths
        left = [entry for folder in (paths.inbox, paths.work, paths.outbox, paths.jobs) for entry in folder.iterdir()]
        return not left and not self.unfinished()

    def faults(self) -> list[str]:
        """What is wrong when each bundle should have one end, the same in the database and on disk."""
        jobs, results = self.jobs(), self.settings.paths.results
        names = sorted(job.name.removesuffix(".json") for job in jobs)  # what was cancelled has its file's
        found = [] if names == sorted(self.dropped) else [f"jobs are {names}"]
        for job in jobs:
            told = [event.kind for event in self.history.events(job.job_id)]
            if told.count("published") != (job.state is JobState.FINISHED):
                found.append(f"{job.name}: {told}")
            if job.state is JobState.BROKEN and job.name != "unlucky":
                found.append(f"{job.name} is broken: {job.message}")
            document = self.history.job(job.job_id)
            shown = [json.loads(file.read_text("utf-8")) for file in results.glob(f"[0-9]*/{job.job_id}/result.json")]
            if document is None or shown != [document.document]:
                found.append(f"{job.name}: its files say {shown}, the database {document}")
        return found

    def act(self, action: str, running: service.Service) -> None:
        here = Owner.current()
        if action == "lost":
            self.repository.abandon(here.tag)
            for beat in tuple(running._heartbeats._beats.values()):
                beat.due_s = 0.0
        elif action == "cancelled":
            publisher = Publisher(self.settings, Spool(self.settings.paths, here), self.repository, self.history)
            for job_id in self.unfinished():
                publisher.cancel(job_id, "its sender")
        elif action == "again":
            self.drop_some()
        elif action == "stopped":
            running.stop()
        elif action == "drained":
            self.daemons.drain(here.host)
            running._presence._due_s = 0.0
        time.sleep(_GOES_ON_S)


def played(home: Path, held_at: Place | None, action: str) -> Threads:
    """A few bundles and a daemon, one thread of which is held; what happens meanwhile; and what is found in the end."""
    scene, threads = Scene(home), Threads(held_at)
    scene.drop_some()
    with threads.watched(), scene.daemon() as running:
        scene.drop("unlucky")
        wait_for(lambda: scene.is_done() or (held_at is not None and threads.has_come(0)), "a thread to come there")
        if held_at is not None and not threads.has_come(0):
            running.stop()
            threads.has_come(1.0)  # it may be a place on the way out
        scene.act(action, running)
        threads.let_go()
        is_to_go_on = not running._stop.is_set()
        if is_to_go_on:
            scene.daemons.undo_drain(Owner.current().host)
            running._presence._due_s = 0.0
            wait_for(scene.is_done, "everything to be judged")
    if not is_to_go_on:
        with scene.daemon():
            wait_for(scene.is_done, "everything to be judged")
    assert scene.faults() == []
    scene.database.close()
    return threads


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "_PAUSE_S", 0.05)
    monkeypatch.setattr(workers, "_PAUSE_AFTER_FAULT_S", 0.05)


@pytest.mark.parametrize(("place", "action"), _HELD, ids=str)
def test_whatever_happens_while_a_thread_is_late_every_bundle_has_one_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, place: Place, action: str
) -> None:
    played(tmp_path / "home", place, action)
    assert not [record for record in caplog.records if record.exc_info], "there is a bug in evald"


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(_SAMPLE))
def test_wherever_a_thread_is_late_every_bundle_has_one_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    """A sample: each place with each action would take an hour."""
    dice = random.Random(seed)
    places = sorted(played(tmp_path / "learned", None, "nothing").places)
    played(tmp_path / "home", dice.choice(places), dice.choice(_ACTIONS))
    assert not [record for record in caplog.records if record.exc_info and record.levelno >= logging.ERROR]
