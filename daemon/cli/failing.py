"""From an exception to what a person reads and the exit code a script reads. The only place that does so.

0 fine (judged and passed), 1 judged and not passed, 2 could not, 70 a fault of evald's own, 75 could not start, or go
on for want of memory, and may later, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import json
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

import click

from daemon.cli import commands_to_type, inherited, refused
from daemon.cli.options import MayPass
from daemon.cli.root import evald
from daemon.cli.screen import harmless, say
from daemon.errors import BundleError, EvaldError, HarnessError

NOT_PASSED, COULD_NOT, INTERRUPTED, NO_READER = 1, 2, 130, 141
FAULT = 70  # EX_SOFTWARE
_BESIDE_THE_PACKAGE = ("daemon.migrations", "daemon.systemd")  # folders of a checkout that an install maps into it
_SHOWN = 200
_LONG_WORD = re.compile(r"\S{500,}")  # longer than nearly every path
TRY_AGAIN = 75  # EX_TEMPFAIL: a service manager starts us again
_NO_MEMORY = HarnessError("not enough memory", hint="ulimit -d, ulimit -v and free -m   show what there is")


def run(argv: Sequence[str] | None = None) -> int:
    """Run one command line and answer its exit code. Messages go to stderr; with --json an error goes to stdout."""
    inherited.settle()
    try:
        return _answered(list(sys.argv[1:] if argv is None else argv))
    finally:
        _let_go_of_messages()


def _answered(args: list[str]) -> int:
    as_json = "--json" in args
    commands_to_type.remember(args)
    try:
        code = _invoke(args, as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence(sys.stdout)
        return NO_READER
    except OSError as error:  # a full disk: the error cannot be written there either
        _silence(sys.stdout)
        return report(refused.explained(error), as_json=False)
    return code


def _invoke(args: list[str], *, as_json: bool) -> int:
    try:
        code = _call(args)
    except click.ClickException as error:
        return _usage_fault(error, as_json=as_json)
    except (click.Abort, KeyboardInterrupt):
        if as_json:
            click.echo(json.dumps(as_document(EvaldError("interrupted")), indent=2))
        say("evald: interrupted")
        return INTERRUPTED
    except EvaldError as error:
        return report(error, as_json=as_json)
    except MayPass as passing:
        code = report_passing(passing.reason, as_json=as_json)
    except BrokenPipeError:
        raise
    except OSError as error:
        return report(refused.explained(error), as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the outermost: 1, which Python would end with, is a verdict
        return _fault(error, as_json=as_json)
    return code if isinstance(code, int) else 0


def _fault(error: Exception, *, as_json: bool) -> int:
    if isinstance(error, ModuleNotFoundError) and (lacking := _not_installed(error.name or "daemon")) is not None:
        return report(lacking, as_json=as_json)
    if isinstance(error, MemoryError):
        return report_passing(_NO_MEMORY, as_json=as_json)
    with suppress(OSError):
        traceback.print_exception(error)
    text = f"a fault of evald itself: {type(error).__name__}: {error}"
    report(EvaldError(text, hint="report it with the lines above and what evald version says"), as_json=as_json)
    return FAULT


def _not_installed(module: str) -> EvaldError | None:
    """What is missing in an install of the client alone, or in a checkout that was never installed. None for any other
    module of ours: that would be a fault."""
    from daemon.cli.pip_commands import PACKAGE, install_all_of_evald, install_the_checkout

    if module.partition(".")[0] != "daemon":
        text = f"this command needs {module}, a package of Python that is not installed"
        return EvaldError(text, hint=install_all_of_evald())
    if module.startswith(_BESIDE_THE_PACKAGE):
        text = f"evald is not installed, only found in {PACKAGE}, and this command needs {module}"
        return EvaldError(text, hint=f"type: {install_the_checkout(PACKAGE)}")
    return None


def _call(args: list[str]) -> object:
    """What the command answers. Not `evald.main`, which turns a closed pipe into exit code 1: that code means something
    else."""
    if "_EVALD_COMPLETE" in os.environ:
        return evald.main(args=args, prog_name="evald", standalone_mode=False)
    try:
        with evald.make_context("evald", args) as context:
            return evald.invoke(context)
    except click.exceptions.Exit as ending:
        return ending.exit_code


def report(error: EvaldError, *, as_json: bool) -> int:
    """Print one error and answer exit code 2."""
    if as_json:
        click.echo(json.dumps(as_document(error), indent=2))
        return COULD_NOT
    first, *more = _shortened(harmless(error.message)).splitlines() or [type(error).__name__]
    with suppress(OSError):  # if it cannot be written it is lost, and the exit code says enough
        click.echo(f"{click.style('evald:', fg='red', bold=True) if _colour() else 'evald:'} {first}", err=True)
        for line in more:
            click.echo(f"  {line}", err=True)
        if hint := _hint(error):
            click.echo(f"  {harmless(hint)}", err=True)
    return COULD_NOT


def _shortened(text: str) -> str:
    """A word of thousands of characters that somebody has typed, cut after its beginning."""
    return _LONG_WORD.sub(lambda word: f"{word[0][:_SHOWN]}… ({len(word[0])} characters)", text)


def report_passing(error: HarnessError | OSError, *, as_json: bool) -> int:
    """Print what may heal, and answer exit code 75."""
    report(error if isinstance(error, HarnessError) else refused.explained(error), as_json=as_json)
    return TRY_AGAIN


def as_document(error: EvaldError) -> dict[str, Any]:
    """An error as --json prints it; a bundle's problems one by one."""
    document: dict[str, Any] = {"error": error.message, "hint": _hint(error)}
    if isinstance(error, BundleError):
        document["problems"] = [vars(problem) for problem in error.problems]
    return document


def _hint(error: EvaldError) -> str | None:
    """What to type, beside the command that runs."""
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else None
    advice = (cause and refused.limit(cause)) or error.hint or (cause and refused.hint(cause))
    return commands_to_type.here(advice) if advice else None


def _usage_fault(error: click.ClickException, *, as_json: bool) -> int:
    context = getattr(error, "ctx", None)
    hint = f"type: {context.command_path} --help" if context is not None else None
    return report(EvaldError(error.format_message(), hint=hint), as_json=as_json)


def _colour() -> bool:
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR")


def _let_go_of_messages() -> None:
    """Messages that cannot be written, to a log on a full disk say, are lost. Otherwise Python would end with exit code
    120."""
    try:
        sys.stderr.flush()
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Python flushes it at exit: give it somewhere to go."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
