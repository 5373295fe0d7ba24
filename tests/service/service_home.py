"""A home with all that a daemon would have, and no daemon: what others left there is built by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from service_bundles import write_bundle

from daemon import result_document, results
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import Lease
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.engine import DeviceState, JobSpec
from daemon.errors import HarnessError
from daemon.evaluation import Evaluation
from daemon.executor import catalog
from daemon.intake.owner import Owner
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Clerk
from daemon.reconcile import Reconciler, Repairs
from daemon.verdict import Phase, Verdict

PASSED = Evaluation(verdict=Verdict.PASSED, phase=Phase.REPORT)
DEAD = Owner(Owner.current().host, Owner.current().boot_id, 2**22 + 1)
ELSEWHERE = Owner("elsewhere", "abcd", 1)
JOB = "0198c0ffee00700080000000000000aa"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


class BrokenEngine:
    """An engine whose judge always dies."""

    slots = 1

    def devices(self) -> tuple[DeviceState, ...]:
        return (DeviceState(0, "cpu", "cpu", None),)

    def refusal(self, requires: object) -> None: ...
    def ready(self) -> None: ...

    def evaluate(self, job: JobSpec, on_progress: object) -> Evaluation:
        raise HarnessError("the judge died")

    def cancel(self, job_id: str) -> None: ...
    def close(self) -> None: ...


@dataclass
class Home:
    """One home with everything a daemon would have, and daemons that are dead."""

    settings: Settings
    repository: Repository
    daemons: DaemonRepository
    history: History

    def clerk(self, owner: Owner) -> Clerk:
        types = catalog.contract_types(catalog.load())
        spool = Spool(self.settings.paths, owner)
        return Clerk(self.settings, spool, self.repository, self.history, BrokenEngine(), types)

    def claim(self, name: str, owner: Owner = DEAD) -> Claimed:
        write_bundle(self.settings.paths.inbox / name)
        return Spool(self.settings.paths, owner).claim(name)

    def lease(self, claimed: Claimed, owner: Owner = DEAD) -> Lease:
        self.clerk(owner).register(claimed)
        lease = self.repository.lease(claimed.job_id, owner.tag, 60)
        assert lease is not None
        self.repository.start(lease)
        return lease

    def stage(self, lease: Lease, fence: int | None = None) -> results.Staged:
        result = result_document.compose(result_document.Subject(lease.job_id, lease.name), PASSED, datetime.now(UTC))
        return results.stage(self.settings.paths, result, PASSED, lease.fence if fence is None else fence)

    def reconciler(
        self, busy: Callable[[str], bool] = lambda _: False, meanwhile: Callable[[], None] = lambda: None
    ) -> Reconciler:
        me = Owner.current()
        spool = Spool(self.settings.paths, me)
        return Reconciler(self.settings.paths, spool, self.repository, self.history, self.clerk(me), busy, meanwhile)

    def reconcile(self, busy: frozenset[str] = frozenset()) -> Repairs:
        return self.reconciler(busy.__contains__).run()

    def published(self) -> list[str]:
        return [path.parent.name for path in self.settings.paths.results.glob("[0-9]*/*/result.json")]

    def entries(self, folder: str) -> list[str]:
        return sorted(entry.name for entry in getattr(self.settings.paths, folder).iterdir())


@contextmanager
def home_in(folder: Path) -> Iterator[Home]:
    """The home in `folder`; a new one has an empty database."""
    settings = Settings(home=folder)
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    try:
        yield Home(settings, Repository(database), DaemonRepository(database), History(database))
    finally:
        database.close()
