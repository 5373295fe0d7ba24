"""cleanup removes rows, result files and bundles of old jobs, and nothing else."""

from __future__ import annotations

from pathlib import Path

from cli_homes import PastHome, bundle, passed, wrong
from conftest import Evald


def everything(past: PastHome) -> set[Path]:
    return {path for path in past.settings.paths.home.rglob("*") if "state" not in path.parts}


def test_a_dry_run_lists_and_removes_nothing(evald: Evald, past: PastHome) -> None:
    job_id = past.ended("old", wrong(), days_ago=60)
    before = everything(past)
    ran = evald("cleanup", "--dry-run")
    assert f"old@{job_id}" in ran.out
    assert "would remove 1 job (1 cases) and 2 files" in ran.out
    told = evald("cleanup", "--dry-run", "--json").document()
    assert told["job_ids"] == [job_id]
    assert told["dry_run"] is True
    assert all(Path(file).exists() for file in told["files"])
    assert everything(past) == before


def test_old_jobs_go_with_their_files_and_the_rest_stays(evald: Evald, past: PastHome) -> None:
    paths = past.settings.paths
    old = past.ended("old", wrong(), days_ago=60)
    best = past.ended("best", passed(), days_ago=60)
    fresh = past.ended("fresh", wrong())
    waiting = past.queued("waiting")
    busy = past.leased("busy").job_id
    bundle(paths.inbox / f"dropped@{old}")

    told = evald("cleanup", "--json").document()

    assert told["job_ids"] == [old]
    assert told["kept_best"] == 1
    left = {path.name for path in everything(past)}
    assert {fresh, best, f"fresh@{fresh}", f"best@{best}", f"dropped@{old}"} <= left
    assert not {old, f"old@{old}"} & left
    assert not (paths.results / "by-name" / "old").is_symlink()
    assert (paths.results / "by-name" / "fresh").exists()
    for job_id in (best, fresh, waiting, busy):
        assert evald("status", job_id).code == 0
    assert evald("show", old).code == 2


def test_keep_best_zero_keeps_nothing_old(evald: Evald, past: PastHome) -> None:
    past.ended("best", passed(), days_ago=60)
    ran = evald("cleanup", "--keep-best", 0, "--older-than", "4w")
    assert "removed 1 job" in ran.out
    assert evald("stats", "--json").document()["groups"] == []


def test_a_cleanup_that_was_killed_after_the_files_is_finished_by_the_next(evald: Evald, past: PastHome) -> None:
    job_id = past.ended("old", wrong(), days_ago=60)
    for file in evald("cleanup", "--dry-run", "--json").document()["files"]:
        Path(file).rename(past.settings.paths.state / Path(file).name)
    assert evald("cleanup", "--json").document()["job_ids"] == [job_id]
    assert evald("cleanup", "--json").document()["job_ids"] == []
