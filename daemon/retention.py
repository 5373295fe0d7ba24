"""Forgetting jobs that ended long ago: their files, then their rows.

Theory of operation: the database names the jobs (finished or broken, ended long enough ago, not among the best). Their
files go first and their rows last, so a kill in between leaves rows that name the jobs again at the next cleanup, never
files nobody knows. What waits or is being judged is not touched.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from daemon import fsio, results
from daemon.db.repository import Repository
from daemon.intake import shelves
from daemon.paths import Paths


@dataclass(frozen=True)
class Removed:
    """What went, or would go: jobs, their cases in the database, their files; and how many stay for being the best."""

    job_ids: tuple[str, ...]
    evaluations: int
    kept_best: int
    files: tuple[str, ...]


def clean(paths: Paths, repository: Repository, older_than: timedelta, keep_best: int, *, dry_run: bool) -> Removed:
    """Remove what ended more than `older_than` ago, the fastest `keep_best` passed jobs of each problem aside.

    With `dry_run` only say what would go.
    """
    plan = repository.cleanup(older_than, keep_best, dry_run=True)
    files = _files(paths, plan.job_ids)
    if dry_run:
        return Removed(plan.job_ids, plan.evaluations, plan.kept_best, tuple(map(str, files)))
    _remove(files)
    done = repository.cleanup(older_than, keep_best)
    if late := set(done.job_ids) - set(plan.job_ids):
        more = _files(paths, late)
        _remove(more)
        files += more
    results.drop_dangling_names(paths)
    return Removed(done.job_ids, done.evaluations, done.kept_best, tuple(map(str, files)))


def _files(paths: Paths, job_ids: Collection[str]) -> list[Path]:
    """Result folders and bundles of ended jobs."""
    wanted = frozenset(job_ids)
    months = paths.results.glob("[0-9]*-[0-9]*") if wanted else ()
    found = [folder for month in months for folder in month.iterdir() if folder.name in wanted]
    found += [waiting.folder for waiting in results.staged(paths) if waiting.job_id in wanted]
    return found + shelves.put_away(paths, wanted)


def _remove(files: list[Path]) -> None:
    for file in files:
        if file.is_dir() and not file.is_symlink():
            fsio.remove_tree(file)
        else:
            file.unlink(missing_ok=True)
