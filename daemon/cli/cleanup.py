"""`evald cleanup`: forget jobs that ended long ago."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from daemon import durations
from daemon.cli import screen
from daemon.cli.failing import COULD_NOT
from daemon.cli.options import json_option, settings_options
from daemon.intake.names import readable

if TYPE_CHECKING:
    from daemon.layers import LoadedSettings
    from daemon.retention import Removed

_LISTED = 20


@click.command("cleanup")
@settings_options()
@click.option("--older-than", default="30d", show_default=True, metavar="WHEN", help="Ended before: 12h, 30d, a date.")
@click.option(
    "--keep-best",
    type=click.IntRange(0, 1_000_000),
    default=1,
    show_default=True,
    metavar="N",
    help="Keep the N fastest passed jobs of each problem (of each name where there is no problem) on each device, "
    "of each submitter.",
)
@click.option(
    "--forgotten", is_flag=True, help="Also results as old whose job the database does not know: of a lost one, say."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option
def command(
    *, loaded: LoadedSettings, older_than: str, keep_best: int, forgotten: bool, dry_run: bool, as_json: bool
) -> int:
    """Remove jobs that ended long ago: database rows, result files, and their bundles in archive, rejected, quarantine.

    What waits or is being judged is never touched. Exit code 2 when something could not be removed: its job stays, all
    others went, and the next cleanup tries it again.
    """
    from daemon import callers, retention
    from daemon.cli import store

    age = durations.parse_span(older_than, "--older-than")
    with store.database_if_any(loaded.settings) as database:
        if database is None:
            removed = retention.NOTHING
        else:
            removed = retention.clean(
                loaded.settings.paths,
                database,
                age,
                keep_best,
                dry_run=dry_run,
                forgotten=forgotten,
                callers=callers.known(loaded.settings),
            )
    if as_json:
        stuck = [vars(one) for one in removed.not_removed]
        screen.document({"dry_run": dry_run, **vars(removed), "not_removed": stuck})
    else:
        _show(removed, dry_run=dry_run)
        if removed.forgotten and not forgotten:
            what = "1 result is" if removed.forgotten == 1 else f"{removed.forgotten} results are"
            screen.say(f"evald: {what} as old, of jobs that the database does not know; --forgotten removes them too")
        _show_stuck(removed)
    return COULD_NOT if removed.not_removed else 0


def _show(removed: Removed, *, dry_run: bool) -> None:
    if dry_run:
        for file in removed.files[:_LISTED]:
            screen.line(readable(file))
        if len(removed.files) > _LISTED:
            screen.line(f"and {len(removed.files) - _LISTED} more files and folders")
    kept = f"; {removed.kept_best} stay for being the best" if removed.kept_best else ""
    verb = "would remove" if dry_run else "removed"
    count = len(removed.job_ids)
    screen.line(
        f"{verb} {count} job{'s' if count != 1 else ''} ({removed.evaluations} cases)"
        f" and {len(removed.files)} files and folders{kept}"
    )


def _show_stuck(removed: Removed) -> None:
    stuck = removed.not_removed
    if not stuck:
        return
    count = "1 file or folder" if len(stuck) == 1 else f"{len(stuck)} files and folders"
    screen.say(f"evald: {count} could not be removed, so the rows of those jobs stay")
    for one in stuck[:_LISTED]:
        screen.say(f"  {readable(one.file)}: {one.reason}")
    if len(stuck) > _LISTED:
        screen.say(f"  and {len(stuck) - _LISTED} more")
    screen.say(f"  as root, or as the owner of what is in it, type: rm -r {shlex.quote(stuck[0].file)}")
    screen.say("  the next cleanup tries again")
