"""Commands that evald tells people to type, for the evald that they have just named: a hint without the `--home`, say,
of the command that gives it would be about another one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextvars import ContextVar

from daemon.cli.options import WHICH_EVALD
from daemon.cli.root import SUMMARIES
from daemon.cli.urls import without_password

_TYPED: ContextVar[Sequence[str]] = ContextVar("typed", default=())
_NEEDS_NONE = r"(?!\S+ --home|.* --help)"
_COMMAND = re.compile(rf"\bevald (?=(?:{'|'.join(map(re.escape, SUMMARIES))})\b){_NEEDS_NONE}")


def remember(args: Sequence[str]) -> None:
    """What has been typed, for `here`."""
    _TYPED.set(tuple(args))


def here(text: str) -> str:
    """`text` with its commands as they are to be typed beside the one that runs now."""
    return beside(text, _TYPED.get())


def beside(text: str, args: Sequence[str]) -> str:
    """`text` with every command of evald's made one about the same evald as the command line `args`."""
    which = " ".join(_which(args))
    return _COMMAND.sub(lambda _: f"evald {which} ", text) if which else text


def _which(args: Sequence[str]) -> Iterator[str]:
    """The options that say which evald is meant, each as it would be typed; the last one counts."""
    for option in WHICH_EVALD:
        values = [value for value in _values(option, args) if value]
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
