"""What a shell offers when somebody presses tab: files, folders, words, and the names of jobs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_JOBS_OFFERED = 200


def files(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Files and folders, which the shell knows best."""
    return [CompletionItem(begun, type="file")]


def folders(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    return [CompletionItem(begun, type="dir")]


def words(*known: str) -> Complete:
    def offered(_context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
        return [CompletionItem(word) for word in known if word.startswith(begun)]

    return offered


def jobs(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of what waits and of the newest jobs, and the ids of those where digits were begun. Nothing where they
    cannot be asked for: an error would stand in the middle of what is being typed."""
    from daemon.cli import options, store
    from daemon.errors import EvaldError
    from daemon.intake import waiting

    with suppress(EvaldError, click.ClickException, OSError):
        settings = options.settings_of(context).settings
        names = dict.fromkeys(entry.name for entry in waiting.look(settings.paths.inbox, limit=_JOBS_OFFERED).entries)
        with store.history_if_any(settings) as history:
            for job in history.jobs(limit=_JOBS_OFFERED).jobs if history is not None else ():
                names.setdefault(job.name)
                if begun:
                    names.setdefault(job.job_id)
        return [CompletionItem(name) for name in names if name.startswith(begun)]
    return []
