"""Daemons that are just being started.

Nothing in a home tells of a daemon before it has imported what it needs, made its folders and tried a judge. That takes
a slow machine a minute. Meanwhile only its process tells of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

_PROC = Path("/proc")
_STARTS = ("run", "serve")
_PROGRAMS = ("evald", "daemon")  # the script; python -m daemon
_DEFAULT = "evald-home"


def daemon_for(home: Path) -> int | None:
    """The process of a daemon for this `home` (absolute), ready or not, as far as this user may see."""
    return next(_daemons_for(home), None)


def _daemons_for(home: Path) -> Iterator[int]:
    wanted = os.path.realpath(home)
    for entry in _PROC.iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
            given = _what_it_is_given(words)
            if given is not None and os.path.realpath(_home_of(entry, given)) == wanted:
                yield int(entry.name)
        except (OSError, ValueError):  # it has ended, or is another user's
            continue


def _what_it_is_given(words: Sequence[str]) -> Sequence[str] | None:
    """The arguments behind `evald run` in a command line; None for another command."""
    for place, word in enumerate(words[:-1]):
        if Path(word).name in _PROGRAMS and words[place + 1] in _STARTS:
            return words[place + 2 :]
    return None


def _home_of(process: Path, given: Sequence[str]) -> Path:
    """The home that these options name, or else the process's environment. Raises `OSError` where that may not be
    read."""
    named = None
    for place, word in enumerate(given):
        if word == "--home" and place + 1 < len(given):
            named = given[place + 1]
        elif word.startswith("--home="):
            named = word.removeprefix("--home=")
    if named is None:
        variables = (process / "environ").read_bytes().decode("utf-8", "surrogateescape").split("\0")
        named = next((one.removeprefix("EVALD_HOME=") for one in variables if one.startswith("EVALD_HOME=")), None)
    place_of = Path(named or _DEFAULT).expanduser()
    return place_of if place_of.is_absolute() else (process / "cwd").readlink() / place_of
