"""What `run`, `sweep`, `serve` and `eval` have in common: ending cleanly, and the warnings at their start."""

from __future__ import annotations

import os
import pwd
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from daemon.cli import commands_to_type, screen

if TYPE_CHECKING:
    from daemon.config import Settings


@contextmanager
def interrupted_by_any_end() -> Iterator[None]:
    """SIGTERM, and SIGHUP unless it is ignored (nohup), end the block as Ctrl-C does: nothing is left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    ours = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def mend_umask() -> None:
    """Change a umask that harms us.

    Under a umask of 0, as some init scripts leave it, anybody of this host could write into results and the outbox.
    Under one that hides our own files from us, a cell could not read its bundle, and the kernel would be blamed. What a
    group may do stays as it is.
    """
    os.umask((os.umask(0o077) | stat.S_IWOTH) & ~stat.S_IRWXU)


def owner_of(folder: Path) -> str:
    """Whom it belongs to, as sudo takes it."""
    with suppress(KeyError):
        return pwd.getpwuid(folder.stat().st_uid).pw_name
    return f"'#{folder.stat().st_uid}'"


def _other_owner(state: Path) -> str | None:
    """The user whom the home belongs to, if not root. If the home cannot be looked at, those who have to write there
    say so."""
    with suppress(OSError):
        if state.is_dir() and state.stat().st_uid != 0:
            return owner_of(state)
    return None


def warn_of_weakness(settings: Settings) -> None:
    """Warn, at every start, that nothing confines the bundles, that nothing is judged at all, or that root is about to
    leave files which the daemon of this home could not touch."""
    if os.geteuid() == 0 and (owner := _other_owner(settings.paths.state)) is not None:
        instead = commands_to_type.of_another(owner)
        screen.warn(f"this home belongs to {owner}, who may not touch what root leaves in it: {instead}")
    if settings.engine == "rehearsal":
        screen.warn("engine is rehearsal: nothing is judged, every result is made up")
    if settings.isolation == "none":
        screen.warn("isolation is none: bundles run as you, with everything you may do; every result says so")
