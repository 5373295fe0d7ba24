"""Bundles named on the command line: finding them, copying them to a private place, reading their contract."""

from __future__ import annotations

import difflib
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import click

from daemon.config import Settings
from daemon.contract import CONTRACT_FILE, ParsedContract
from daemon.errors import OperatorError
from daemon.executor import catalog
from daemon.executor.host import scratch
from daemon.intake import names
from daemon.intake.copying import private_copy
from daemon.intake.reading import read_bundle
from daemon.paths import expanded

_STDIN = "evald.stdin"
_SOURCES = {".py": "torch-compare", ".cu": "cuda", ".cuh": "cuda", ".cpp": "torch_cuda"}


@dataclass(frozen=True)
class ReadBundle:
    """A private copy in `dir`, and what its contract says. `name` is the contract's, else the file's or folder's."""

    dir: Path
    name: str
    parsed: ParsedContract


def existing(text: str) -> Path:
    """The bundle at a path, or for `-` the contract on stdin.

    Raises `OperatorError`, which says what is nearby, or what to type for a bare source file.
    """
    if text == "-":
        return _on_stdin()
    if not text:  # an unset variable of a script: pathlib would take it for the current folder
        raise OperatorError("the path of the bundle is empty", hint="a . is the folder you are in")
    path = expanded(Path(text))
    if path.is_dir():
        return path.resolve()
    if path.is_symlink() and not path.exists():
        raise OperatorError(f"{text} is a link to {path.readlink()}, which is not there", hint="repair the link")
    if not path.exists():
        raise OperatorError(f"there is no {text}", hint=_nearby(path))
    kind = _SOURCES.get(path.suffix.lower())
    if kind is not None:
        hint = f"type: evald new {kind} {shlex.quote(path.stem)}   then put the source into that folder"
        raise OperatorError(
            f"{text} is a source file; a bundle also says how to call it, in a contract.json", hint=hint
        )
    if names.form_of(path.name) is names.Form.UNKNOWN:
        hint = f"a bundle is {names.FORMS}; - is such a file on stdin"
        raise OperatorError(f"{text} is not a bundle", hint=hint)
    if path.name == CONTRACT_FILE and path.is_file():
        return path.resolve().parent
    return path.resolve()


def _on_stdin() -> Path:
    """A copy that is there until the command ends."""
    command = click.get_current_context()
    if _STDIN in command.meta:
        raise OperatorError("- stands for stdin, which is there once", hint="name files, or folders, for more bundles")
    command.meta[_STDIN] = True
    copy = command.with_resource(scratch.folder("stdin")) / "stdin.json"
    with copy.open("wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return copy


def _may_be_meant(entry: Path) -> bool:
    has_form = names.form_of(entry.name) is not names.Form.UNKNOWN
    return not entry.name.startswith(".") and (has_form or entry.suffix.lower() in _SOURCES or entry.is_dir())


def dropped_name(path: Path) -> str:
    """What a bundle at `path` is called when its contract gives no name."""
    return names.readable(names.bundle_name(path.name))


def read(path: Path, folder: Path, settings: Settings) -> ReadBundle:
    """Copy the bundle at `path` to `folder/bundle` and read its contract; nothing of it is run.

    Raises `BundleError` with everything that is wrong with it.
    """
    copied = private_copy(path, folder / "bundle", settings.limits, crossing=True)
    types = catalog.contract_types(catalog.load(settings.backend_paths))
    parsed = read_bundle(copied.dir, types, settings.limits)
    return ReadBundle(copied.dir, parsed.request.name or dropped_name(path), parsed)


def _nearby(path: Path) -> str:
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    there = [entry.name for entry in folder.iterdir() if _may_be_meant(entry)]
    wanted = path.name if folder == path.parent else path.relative_to(folder).parts[0]
    near = difflib.get_close_matches(wanted, there, n=3, cutoff=0.5)
    place = "here" if folder == Path() else f"in {folder}"
    if near:
        return f"did you mean {', '.join(str(folder / name) for name in near)}?"
    if not there:
        return f"there is no bundle {place}"
    return f"there is {place}: {', '.join(sorted(there)[:8])}{', …' if len(there) > 8 else ''}"  # noqa: PLR2004
