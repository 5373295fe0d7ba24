"""Opening the history for commands that ask, and finding the job a person means. Imports no torch and no alembic."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.cli import figures, screen
from daemon.cli.commands_to_type import here
from daemon.cli.refused import file_above
from daemon.config import Settings
from daemon.db import revision
from daemon.db.connection import Database, file_of
from daemon.db.history import History
from daemon.db.records import JobRecord
from daemon.errors import OperatorError
from daemon.intake import names, waiting

WHO_MAY_ASK = (
    "a SQLite database is for the user that evald runs as: ask as that one, or over HTTP (evald serve); "
    "results are in results/by-name"
)
_NAMES_COMPARED = 500
_NO_WORD = 8  # hex digits: `add` and `face` are names


@contextmanager
def database(settings: Settings) -> Iterator[Database]:
    """The database of `settings`, at the schema of this code.

    Raises `OperatorError` when it is missing or outdated, or when this user may not read it.
    """
    if (file := file_of(settings.database_url)) is not None:
        is_there(file)
    opened = Database(settings.database_url, must_exist=True)
    try:
        revision.require_current(opened)
        yield opened
    finally:
        opened.close()


@contextmanager
def history(settings: Settings) -> Iterator[History]:
    """As `database`, for questions."""
    with database(settings) as opened:
        yield History(opened)


@contextmanager
def database_if_any(settings: Settings) -> Iterator[Database | None]:
    """As `database`. None where evald has an inbox but no database yet, because it never ran, or only an empty file,
    because the daemon that is starting has not filled it."""
    file = file_of(settings.database_url)
    missing = file is not None and not is_there(file)
    if missing and settings.paths.inbox.is_dir():
        yield None
        return
    if missing and settings.database_url == settings.paths.default_database_url:
        raise no_home(settings)
    opened = Database(settings.database_url, must_exist=True)
    try:
        if opened.is_sqlite and settings.paths.inbox.is_dir() and revision.current(opened) is None:
            yield None
        else:
            revision.require_current(opened)
            yield opened
    finally:
        opened.close()


@contextmanager
def history_if_any(settings: Settings) -> Iterator[History | None]:
    """As `database_if_any`, for questions."""
    with database_if_any(settings) as opened:
        yield None if opened is None else History(opened)


def is_there(file: Path) -> bool:
    """Whether the file of a SQLite database exists. Raises `OperatorError` where this user may not know."""
    try:
        return file.exists()
    except PermissionError as error:
        raise OperatorError(f"{file}: {error.strerror}", hint=WHO_MAY_ASK) from error


def no_home(settings: Settings) -> OperatorError:
    """The error for a place where evald never was."""
    if (found := file_above(settings.paths.inbox)) is not None:
        return OperatorError(found, hint="name a folder with --home or EVALD_HOME")
    if os.path.lexists(settings.paths.seen_inbox) or settings.paths.work.is_dir():
        return OperatorError(
            f"there is no inbox {settings.paths.inbox}",
            hint="is its file system mounted, or has it been removed? evald health says what the daemon makes of it",
        )
    return OperatorError(
        f"there is no evald at {settings.paths.home}",
        hint="type: evald run   (it makes one), or name the folder with --home or EVALD_HOME",
    )


def find(history: History, wanted: str) -> JobRecord | None:
    """The job that `wanted` means, with its result document: by its id, by the first digits of its id, or as the newest
    job that its contract or its sender calls so.

    Raises `OperatorError` if `wanted` begins the id of one job and is the name of another, unless it is too short to be
    taken for an id. Whoever drops bundles may have read the id, and called a bundle so.
    """
    if names.JOB_ID.fullmatch(wanted):
        return history.job(wanted)
    named = history.newest(wanted, names.with_any_ending(wanted))
    if named is not None and len(wanted) < _NO_WORD:
        return named
    begun = history.job(wanted)
    if named is None or begun is None or named.job_id == begun.job_id:
        return named or begun
    raise OperatorError(
        f"the id of {begun.job_id} begins with {wanted!r}, and {named.job_id} is called so",
        hint="give the whole id of the one that is meant",
    )


def is_begun_id(job: JobRecord | None, wanted: str) -> bool:
    """Whether `wanted` means the id of that job, even if another job is called so."""
    return job is not None and len(wanted) >= _NO_WORD and job.job_id.startswith(wanted.strip().lower())


def asked_for(
    history: History | None, inbox: waiting.Inbox, settings: Settings, wanted: str, *, quietly: bool
) -> JobRecord | None:
    """As `find`, and says whose the job is, unless `quietly`. None where only `inbox`, a look at entries of that name,
    has something. Raises `OperatorError` where nobody has."""
    job = None if history is None else find(history, wanted)
    if job is None and not inbox.entries:
        raise unknown(history, settings, wanted)
    if history is not None and job is not None and not quietly:
        _say_whose(history, job, wanted)
    return job


def _say_whose(history: History, job: JobRecord, wanted: str) -> None:
    """Where a name stands for somebody else's job and the asker has one of that name, say so."""
    asker = os.getuid()
    if job.submitter_uid in (None, asker) or job.job_id.startswith(wanted):
        return
    own = next(iter(history.jobs(name=job.name, submitter_uid=asker, limit=1).jobs), None)
    if own is not None:
        command = here(f"evald show {figures.short(own.job_id)}")
        screen.say(f"evald: the newest {job.name} is of {figures.submitter(job.submitter_uid)}; your newest: {command}")


def unknown(history: History | None, settings: Settings, wanted: str) -> OperatorError:
    """The error about a job nobody knows, with the names that come nearest."""
    inbox = waiting.look(settings.paths.inbox, limit=_NAMES_COMPARED)
    known = {entry.name for entry in inbox.entries}
    if history is not None:
        known.update(job.name for job in history.jobs(limit=_NAMES_COMPARED).jobs)
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "evald status lists what there is"
    return OperatorError(f"no job and no waiting bundle is called {wanted!r}", hint=hint)
