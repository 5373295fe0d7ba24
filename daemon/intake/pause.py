"""The pause file: an operator stops claiming and judging without stopping the daemons."""

from __future__ import annotations

from daemon.paths import Paths

_SHOWN = 200


def pause_reason(paths: Paths) -> str | None:
    """What the pause file says: at most a line, "" for an empty file. None when there is none."""
    try:
        with paths.pause.open(encoding="utf-8", errors="replace") as stream:
            return stream.readline(_SHOWN).strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return ""  # it is there and cannot be read: paused all the same
