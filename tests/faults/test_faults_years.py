"""A year of results: what a cleanup forgets, and what it never touches."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from service_rehearsal import Place

sys.path.append(str(Path(__file__).parent.parent / "cli"))

from cli_homes import PastHome, bundle, wrong

from daemon import result_document, results

KEEP_DAYS, YEAR_DAYS, STEP_DAYS = 30, 365, 5


@pytest.fixture
def past(here: Place) -> PastHome:
    from daemon.config import Settings

    return PastHome(Settings(home=here.home))


def names_in(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_a_year_of_cleanups_leaves_a_month_and_never_touches_unpublished_work(here: Place, past: PastHome) -> None:
    paths = past.settings.paths
    ages = range(0, YEAR_DAYS, STEP_DAYS)
    jobs = {age: past.ended(f"day{age}", wrong(), days_ago=age) for age in ages}
    for age in ages[1::2]:  # some were set aside
        (paths.archive / f"day{age}@{jobs[age]}").rename(paths.quarantine / f"day{age}@{jobs[age]}")
    unpublished = past.leased("unpublished")
    subject = result_document.Subject(unpublished.job_id, "unpublished")
    results.stage(paths, result_document.compose(subject, wrong(), datetime(2020, 1, 1, tzinfo=UTC)), wrong(), 1)
    waiting = past.queued("waiting")
    bundle(paths.inbox / "dropped")
    unknown = paths.archive / "kept-by-hand"
    unknown.mkdir()
    untouchable = {folder: names_in(folder) for folder in (paths.inbox, paths.work, paths.outbox)}

    done = here.evald("cleanup", "--older-than", f"{KEEP_DAYS}d", "--keep-best", "0", "--json")

    assert done.returncode == 0, done.stderr
    gone = {job_id for age, job_id in jobs.items() if age >= KEEP_DAYS}
    kept = set(jobs.values()) - gone
    assert set(json.loads(done.stdout)["job_ids"]) == gone
    shelved = {name.rpartition("@")[2] for shelf in (paths.archive, paths.quarantine) for name in names_in(shelf)}
    assert shelved == kept | {"kept-by-hand"}
    assert {path.parent.name for path in paths.results.glob("[0-9]*/*/result.json")} == kept
    assert {folder: names_in(folder) for folder in untouchable} == untouchable
    assert set(here.jobs()) == {*(f"day{age}" for age in ages if age < KEEP_DAYS), "unpublished", "waiting"}
    assert waiting in {job.job_id for job in here.jobs().values()}
    again = json.loads(here.evald("cleanup", "--older-than", f"{KEEP_DAYS}d", "--keep-best", "0", "--json").stdout)
    assert (again["job_ids"], again["files"]) == ([], [])
