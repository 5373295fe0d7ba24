"""`evald db`: the schema of the database, and a copy of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import click

from daemon.cli import screen
from daemon.cli.commands_to_type import here
from daemon.cli.options import json_option, settings_options
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from daemon.db.connection import Database
    from daemon.layers import LoadedSettings


@click.group("db", invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def command(ctx: click.Context, /) -> None:
    """Look at the schema of the database or through all of it, bring it to the schema this evald needs, or copy all of
    it into another."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


@command.command("current", short_help="print its schema revision and the one needed")
@settings_options()
@json_option
def current(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Print the schema revision of the database and the one this evald needs. Exit code 2 when they differ."""
    from daemon.db import revision
    from daemon.db.connection import Database

    database = Database(loaded.settings.database_url, must_exist=True)
    try:
        found = revision.current(database)
        to_type = None if found == revision.REVISION else _to_type(database)
    finally:
        database.close()
    ready = found == revision.REVISION
    if as_json:
        screen.document({"database": database.name, "current": found, "needed": revision.REVISION, "ready": ready})
    else:
        screen.fields([("database", database.name), ("current", found or "empty"), ("needed", revision.REVISION)])
        if to_type is not None:
            screen.say(here(to_type))
    return 0 if ready else 2


def _to_type(database: Database) -> str | None:
    """What to do about a database with another schema: that depends on which of the two is older."""
    from daemon.db import revision

    try:
        revision.require_current(database)
    except OperatorError as error:
        return error.hint
    return None


@command.command("check", short_help="look whether a SQLite file is whole")
@settings_options()
@json_option
def check(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Look through all of a SQLite database: its pages, and whether its indexes say what is in its tables.

    For a backup, before it is needed, or after a disk has failed. It takes some minutes for a large one; a daemon goes
    on beside it, and its -wal file grows meanwhile. Exit code 2 when it is damaged. Postgres has pg_amcheck for that.
    """
    from daemon.db.connection import Database

    database = Database(loaded.settings.database_url, must_exist=True)
    try:
        if not database.is_sqlite:
            raise OperatorError(f"{database.name} is none of SQLite's", hint="on its server type: pg_amcheck")
        database.looked_through(math.inf, indexes=True)
    finally:
        database.close()
    if as_json:
        screen.document({"database": database.name, "whole": True})
    else:
        screen.line(f"{database.name} is whole")
    return 0


@command.command("upgrade", short_help="bring it to the schema needed")
@settings_options()
@click.option("--force", is_flag=True, help="Also while daemons use it: theirs is the old schema.")
@json_option
def upgrade(*, loaded: LoadedSettings, force: bool, as_json: bool) -> int:
    """Bring the database to the schema this evald needs; an empty or missing one is created.

    Stop every daemon that uses it and make a backup before: it is refused as long as one is there. There is no
    downgrade.
    """
    from daemon.db import migrate
    from daemon.db.connection import normalised, shown

    settings = loaded.settings
    url = normalised(settings.database_url)
    if settings.database_url == settings.paths.default_database_url:
        settings.paths.create()
    reached = migrate.upgrade(settings.database_url, force=force)
    name = shown(url)
    if as_json:
        screen.document({"database": name, "current": reached})
    else:
        screen.line(f"{name} is at revision {reached}")
    return 0


@command.command("copy", short_help="copy all it holds into a new database")
@settings_options()
@json_option
@click.argument("new_url", metavar="URL")
def copy(*, loaded: LoadedSettings, as_json: bool, new_url: str) -> int:
    """Copy the whole history into the empty database at URL, as from SQLite to Postgres, and leave this one as it is.

    Stop every daemon before: it is refused as long as one is there. The copy is the same database to an inbox: name it
    in the settings and put the old one away, for daemons of both would each judge every bundle. On Postgres URL names
    the role that owns the tables.
    """
    from daemon.db import copying
    from daemon.db.connection import normalised, shown

    url = loaded.settings.database_url
    name, new_name = shown(normalised(url)), shown(normalised(new_url))
    rows = copying.copy(url, new_url)
    if as_json:
        screen.document({"database": name, "copy": new_name, "rows": rows})
    else:
        screen.line(f"{new_name} has all of {name}: {sum(rows.values())} rows, {rows['job']} of them jobs")
        screen.say("evald: set `database` to it before a daemon is started again, and put the old one away")
    return 0
