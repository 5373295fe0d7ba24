"""Names of jobs, which a shell offers when somebody presses tab."""

from __future__ import annotations

from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from daemon.cli import options

_JOBS_OFFERED = 200


def jobs(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem]:
    """Names of what waits and of the newest jobs, and the ids of those where digits were begun. Nothing where they
    cannot be asked for: an error would stand in the middle of what is being typed."""
    from daemon.cli import store
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
