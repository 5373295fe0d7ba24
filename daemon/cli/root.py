"""The group `evald`: which commands there are, and importing the one that was asked for."""

from __future__ import annotations

import difflib
import importlib
from typing import Any

import click
from click.shell_completion import CompletionItem

from daemon.cli.options import place_options

SECTIONS: dict[str, dict[str, str]] = {
    "Judging": {
        "run": "judge bundles as they arrive in the inbox, until stopped",
        "sweep": "judge what is waiting in the inbox, then exit",
        "eval": "judge one bundle here and now, without inbox or database",
        "submit": "drop bundles into the inbox",
        "serve": "take bundles over HTTP, and answer with their results",
        "mcp": "offer evald as tools to a language model",
        "cancel": "end jobs nobody wants any more",
    },
    "Asking": {
        "status": "what waits, what runs, what ended last; or one job",
        "show": "everything about one job",
        "stats": "figures over finished jobs; a leaderboard",
    },
    "Writing bundles": {
        "new": "write a working bundle to start from",
        "validate": "list everything that is wrong with a bundle, without running it",
        "schema": "print the JSON Schema of a contract",
    },
    "Looking after evald": {
        "doctor": "check this machine, and say what to type",
        "health": "whether bundles are being judged, as an exit code",
        "config": "every setting, its value, and where it came from",
        "token": "say who may use evald serve",
        "drain": "let the daemons of a host finish and take nothing new",
        "cleanup": "forget jobs that ended long ago",
        "db": "look at, upgrade or copy the database",
        "install-service": "put systemd units (or a cron file) in place",
        "version": "print the versions",
    },
}
# What others call it, and what to type here.
_ELSEWHERE = {
    "leaderboard": "stats --problem NAME",
    "rank": "stats --problem NAME",
    "compare": "eval PATH",
    "bench": "eval PATH",
    "judge": "eval PATH",
    "check": "validate PATH",
    "start": "run",
    "daemon": "run",
    "init": "new",
    "list": "status",
    "queue": "status",
    "jobs": "status",
    "results": "show NAME",
    "log": "show NAME",
    "logs": "show NAME",
}
SUMMARIES = {name: summary for section in SECTIONS.values() for name, summary in section.items()}


class LazyGroup(click.Group):
    """Knows the names and summaries of its commands, and imports `daemon.cli.NAME` only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in SUMMARIES:
            return None
        command: click.Command = importlib.import_module(f"daemon.cli.{cmd_name.replace('-', '_')}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in SUMMARIES and not name.startswith("-") and not ctx.resilient_parsing:
            nearest = difflib.get_close_matches(name, SUMMARIES, n=2, cutoff=0.7)
            if name in _ELSEWHERE:
                nearest = [_ELSEWHERE[name]]
            if name == "help":  # as git has it
                nearest = [" ".join([*(word for word in args[1:2] if word in SUMMARIES), "--help"])]
            tail = f" Did you mean {' or '.join(map(repr, nearest))}?" if nearest else ""
            raise click.UsageError(f"No such command {name!r}.{tail}", ctx=ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Commands from the list above: click would import every one of them to ask whether it is hidden."""
        options = click.Command.shell_complete(self, ctx, incomplete)
        offered = [CompletionItem(name, help=text) for name, text in SUMMARIES.items() if name.startswith(incomplete)]
        return offered + options

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, SUMMARIES))
        for section, commands in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), summary) for name, summary in commands.items()])


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from daemon.versions import evald_version

    click.echo(f"evald {evald_version()}")
    ctx.exit()


@click.group(cls=LazyGroup, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@place_options
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
@click.pass_context
def evald(ctx: click.Context, /, **_given: Any) -> None:
    """evald judges GPU kernels: a bundle goes in, a result comes out that can be trusted.

    \b
    evald new torch-compare mine    write a bundle to start from
    evald eval mine                 judge it here and now
    evald run                       judge whatever is moved into evald-home/inbox
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
