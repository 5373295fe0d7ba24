"""`evald cleanup`: forget jobs that ended long ago: their files, then their rows.

Theory of operation: the database names the jobs (finished or broken, ended long enough ago, not among the best). Their
files go first and their rows last, so a kill in between leaves rows that name the jobs again at the next cleanup, never
files nobody knows. Inbox and work are not touched.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from daemon.cli import durations, screen, shelves
from daemon.cli.options import json_option, settings_options

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta
    from pathlib import Path

    from daemon.config import LoadedSettings, Settings
    from daemon.paths import Paths

_LISTED = 20


@dataclass(frozen=True)
class Removed:
    """What went, or would go: jobs, their cases in the database, their files; and how many stay for being the best."""

    job_ids: tuple[str, ...]
    evaluations: int
    kept_best: int
    files: tuple[str, ...]


@click.command("cleanup")
@settings_options()
@click.option("--older-than", default="30d", show_default=True, metavar="WHEN", help="Ended before: 12h, 30d, a date.")
@click.option(
    "--keep-best",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Keep the N fastest passed jobs of each problem (of each name where there is no problem).",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def command(*, loaded: LoadedSettings, older_than: str, keep_best: int, dry_run: bool, as_json: bool) -> int:
    """Remove jobs that ended long ago: database rows, result files, and their bundles in archive, rejected, quarantine.

    What waits or is being judged is never touched.
    """

    removed = _clean(loaded.settings, durations.parse_span(older_than, "--older-than"), keep_best, dry_run=dry_run)
    if as_json:
        screen.document({"dry_run": dry_run, **vars(removed)})
    else:
        _show(removed, dry_run=dry_run)
    return 0


def _clean(settings: Settings, older_than: timedelta, keep_best: int, *, dry_run: bool) -> Removed:
    from daemon import results
    from daemon.cli import store
    from daemon.db.repository import Repository

    with store.database(settings) as database:
        repository = Repository(database)
        plan = repository.cleanup(older_than, keep_best, dry_run=True)
        files = _files(settings.paths, plan.job_ids)
        if dry_run:
            return Removed(plan.job_ids, plan.evaluations, plan.kept_best, tuple(map(str, files)))
        _remove(files)
        done = repository.cleanup(older_than, keep_best)
    if late := set(done.job_ids) - set(plan.job_ids):
        more = _files(settings.paths, late)
        _remove(more)
        files += more
    results.drop_dangling_names(settings.paths)
    return Removed(done.job_ids, done.evaluations, done.kept_best, tuple(map(str, files)))


def _files(paths: Paths, job_ids: Collection[str]) -> list[Path]:
    """Result folders and bundles of ended jobs."""

    wanted = frozenset(job_ids)
    months = paths.results.glob("[0-9]*-[0-9]*") if wanted else ()
    found = [folder for month in months for folder in month.iterdir() if folder.name in wanted]
    return found + shelves.put_away(paths, wanted)


def _remove(files: list[Path]) -> None:
    from daemon import fsio

    for file in files:
        if file.is_dir() and not file.is_symlink():
            fsio.remove_tree(file)
        else:
            file.unlink(missing_ok=True)


def _show(removed: Removed, *, dry_run: bool) -> None:
    if dry_run:
        for file in removed.files[:_LISTED]:
            screen.line(file)
        if len(removed.files) > _LISTED:
            screen.line(f"and {len(removed.files) - _LISTED} more files and folders")
    kept = f"; {removed.kept_best} stay for being the best" if removed.kept_best else ""
    verb = "would remove" if dry_run else "removed"
    count = len(removed.job_ids)
    screen.line(
        f"{verb} {count} job{'s' if count != 1 else ''} ({removed.evaluations} cases)"
        f" and {len(removed.files)} files and folders{kept}"
    )
