"""`evald new`: a working bundle to start from."""

from __future__ import annotations

import difflib
import errno
import shlex
import shutil
from pathlib import Path
from typing import Any

import click

from daemon.cli import screen
from daemon.cli.commands_to_type import here
from daemon.cli.complete import words
from daemon.cli.options import json_option
from daemon.cli.starters import STARTERS
from daemon.errors import OperatorError
from daemon.fsio import hint_of_room
from daemon.paths import expanded


@click.command("new", context_settings={"ignore_unknown_options": False})
@json_option
@click.argument("kind", required=False, shell_complete=words(*STARTERS))
@click.argument("name", required=False)
def command(*, as_json: bool, kind: str | None, name: str | None) -> int:
    """Write a bundle of KIND into the folder NAME: small, commented, and correct as it is. Nothing is overwritten.

    Without arguments the kinds are listed.
    """

    if kind is None:
        kinds = {known: starter.summary for known, starter in STARTERS.items()}
        if as_json:
            screen.document({"kinds": kinds})
        else:
            screen.fields(kinds.items())
            screen.say("\ntype: evald new KIND NAME")
        return 0
    _check_kind(kind, name)
    if name is None:
        raise click.UsageError(f"Missing argument NAME: evald new {kind} NAME", ctx=click.get_current_context())
    folder = expanded(Path(name))
    files = _files(kind, folder)
    _write(kind, folder, files)
    if as_json:
        screen.document({"kind": kind, "path": str(folder), "files": sorted(files)})
        return 0
    screen.line(f"wrote {', '.join(str(folder / file) for file in files)}")
    typed = f"./{folder}" if str(folder).startswith("-") else str(folder)
    screen.say(f"type: {here('evald eval')} {shlex.quote(typed)}")
    return 0


def _check_kind(kind: str, name: str | None) -> None:
    if kind in STARTERS:
        return
    if name in STARTERS:
        raise OperatorError(f"{kind!r} is not a kind of bundle", hint=f"type: evald new {name} {kind}")
    nearest = difflib.get_close_matches(kind, STARTERS, n=1)
    guess = f"did you mean {nearest[0]}? " if nearest else ""
    raise OperatorError(f"{kind!r} is not a kind of bundle", hint=f"{guess}kinds: {', '.join(STARTERS)}")


def _files(kind: str, folder: Path) -> dict[str, str]:
    from daemon.contract import CONTRACT_FILE

    starter, name = STARTERS[kind], folder.resolve().name.lstrip(".") or kind
    return {CONTRACT_FILE: starter.contract_text(name), **starter.files, "README.md": starter.readme(kind, name)}


def _write(kind: str, folder: Path, files: dict[str, Any]) -> None:
    """All files, or none: the folder must not exist yet."""
    if not folder.name:
        raise OperatorError("the name is empty", hint="type: evald new torch my-kernel")
    try:
        folder.mkdir(parents=False)
    except FileExistsError as error:
        raise OperatorError(f"{folder} is already there; nothing was written", hint="choose another name") from error
    except OSError as error:
        raise _cannot_be_made(kind, folder, error) from error
    try:
        for name, text in files.items():
            (folder / name).write_text(text, "utf-8")
    except OSError:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _cannot_be_made(kind: str, folder: Path, error: OSError) -> OperatorError:
    if isinstance(error, FileNotFoundError) and not folder.parent.exists():
        hint = f"type: mkdir -p {shlex.quote(str(folder.parent))}"
        return OperatorError(f"there is no folder {folder.parent}", hint=hint)
    elsewhere = f"name it where you may write, such as: evald new {kind} ~/{shlex.quote(folder.name)}"
    hint = "choose a shorter name" if error.errno == errno.ENAMETOOLONG else hint_of_room(error) or elsewhere
    # /proc says "no such file", and means that none can be made
    reason = "not a place for files" if isinstance(error, FileNotFoundError) else error.strerror
    return OperatorError(f"no folder can be made at {folder}: {reason}", hint=hint)
