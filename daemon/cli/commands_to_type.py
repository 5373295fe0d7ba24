"""Commands that evald tells people to type. Each is about the evald that they have just named, by the program that they
have just started.

Without that, a hint would be about another evald (it would lack the `--home` of the command that gives it), or would be
no command at all (where no shell finds `evald`).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType

from daemon.cli.options import WHICH_EVALD
from daemon.cli.root import SUMMARIES
from daemon.cli.urls import without_password

_TYPED: ContextVar[Sequence[str]] = ContextVar("typed", default=())
_PROGRAM = "evald"
_COMMAND = re.compile(rf"(?<![\w/.-]){_PROGRAM} (?=(?:{'|'.join(map(re.escape, SUMMARIES))})\b|--help)")
_SAYS_WHICH = re.compile(r"\S+ --home|(?:.* )?--help")


def remember(args: Sequence[str]) -> None:
    """What has been typed, for `here`."""
    _TYPED.set(tuple(args))


def here(text: str) -> str:
    """`text` with its commands made complete: as they are to be typed beside the command that runs now."""
    return beside(text, _TYPED.get(), program(), {} if sys.stderr.isatty() else os.environ)


def beside(
    text: str, args: Sequence[str], started: str = _PROGRAM, environment: Mapping[str, str] = MappingProxyType({})
) -> str:
    """`text` with every command of evald's made one about the same evald as the command line `args` of the program
    `started`.

    `environment`: variables that the reader's shell may lack, because the text is read later, in a journal or a mail of
    cron. What they say is then written into the command.
    """
    which = " ".join(_which(args, environment))

    def typed(found: re.Match[str]) -> str:
        return f"{started} " if not which or _SAYS_WHICH.match(text, found.end()) else f"{started} {which} "

    return _COMMAND.sub(typed, text)


def of_another(user: str, *command: str) -> str:
    """What to type to run this command, or else the one that runs now, as another user, about the same evald. sudo
    hands on neither the path where a shell looks for programs nor the environment."""
    typed = _TYPED.get()
    said = {option for option in WHICH_EVALD for _ in _values(option, typed)}
    which = _which(typed, os.environ) if command else _which((), _unless(said, os.environ))
    words = [shlex.quote(word) if word == without_password(word) else "…" for word in command or typed]
    return " ".join((f"sudo -u {user}", _anywhere(), *which, *words))


def _unless(said: Collection[str], environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if f"--{name[6:].lower()}" not in said}


def _anywhere() -> str:
    """The program that runs, by its whole path."""
    started = sys.argv[0]
    if Path(started).name != _PROGRAM:
        return f"{shlex.quote(sys.executable)} -m daemon"
    return shlex.quote(os.path.abspath(shutil.which(started) or started))  # noqa: PTH100 - not where a link leads


def program() -> str:
    """The program that runs, as a shell starts it: `evald` where that is what it finds under this name."""
    started = sys.argv[0]
    if Path(started).name != _PROGRAM:
        return _PROGRAM  # python -m daemon, or a test
    found = shutil.which(_PROGRAM)
    is_found = found is not None and os.path.realpath(found) == os.path.realpath(started)
    return _PROGRAM if is_found else shlex.quote(started)


def _which(args: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """The options that say which evald is meant, each as it would be typed; the last one counts."""
    for option in WHICH_EVALD:
        variable = "EVALD_" + option.removeprefix("--").upper()
        values = [value for value in (environment.get(variable), *_values(option, args)) if value]
        if values and values[-1] == without_password(values[-1]):  # one is not to be read in a hint
            yield f"{option} {shlex.quote(values[-1])}"


def _values(option: str, args: Sequence[str]) -> Iterator[str]:
    for place, arg in enumerate(args):
        if arg == "--":
            return
        if arg == option and place + 1 < len(args):
            yield args[place + 1]
        elif arg.startswith(f"{option}="):
            yield arg.removeprefix(f"{option}=")
