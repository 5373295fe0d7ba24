"""Story lines: one line per state change, a job id on each. Plain text for people, priorities for journald."""

from __future__ import annotations

import logging
import os
import sys
import time
from datetime import UTC, datetime
from typing import Any, TextIO

LOGGER = logging.getLogger("evald")
"".encode("unicode_escape")  # Python opens a file for its first use, which a process without descriptors left cannot

COMPLAIN_EVERY_S = 60.0
_JOURNAL_PRIORITY = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class _StoryFormatter(logging.Formatter):
    """`12:00:01 info  job 0192… claimed name=vec_add`; under journald the clock is left out and `<6>` stands in front.
    `dated`: for a file, which is read months later, maybe elsewhere: `2026-01-31T12:00:01Z`.
    """

    def __init__(self, *, journal: bool, dated: bool) -> None:
        super().__init__()
        self._journal = journal
        self._dated = dated

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        text = _one_line(record.getMessage()) + "".join(f" {key}={_printable(value)}" for key, value in fields.items())
        if record.exc_info:
            lines = self.formatException(record.exc_info).split("\n")
            text += "".join(f"\n  {_one_line(line)}" for line in lines)  # none looks like a message of its own
        if self._journal:
            return f"<{_JOURNAL_PRIORITY.get(record.levelno, 6)}>{text}"
        return f"{self._time(record)} {record.levelname.lower():7} {text}"

    def _time(self, record: logging.LogRecord) -> str:
        if self._dated:
            return f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%SZ}"
        return self.formatTime(record, "%H:%M:%S")


def _one_line(text: str) -> str:
    """Nobody whose name is in it can begin a line of his own."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() and c != "\\" else c.encode("unicode_escape").decode("ascii") for c in text)


def _printable(value: object) -> str:
    """A field's value, in quotes where it has anything that could be taken for the next field."""
    text = str(value)
    escaped = _one_line(text)
    if not any(character in escaped for character in ' "='):
        return escaped
    if text.isprintable():  # else backslashes have been escaped already
        escaped = escaped.replace("\\", "\\\\")
    return '"' + escaped.replace('"', '\\"') + '"'


def _is_journal(stream: TextIO) -> bool:
    """Whether `stream` is the one that systemd connected. The variable alone does not tell: it is still set where the
    stream goes elsewhere, as in the shell of a desktop's terminal."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def setup(level: str) -> None:
    """Send story lines to stderr. `level` is debug, info, warning or error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_StoryFormatter(journal=_is_journal(sys.stderr), dated=not sys.stderr.isatty()))
    LOGGER.handlers[:] = [handler]
    LOGGER.setLevel(level.upper())
    LOGGER.propagate = False


def adopt(name: str, level: int) -> None:
    """Send what a library logs in its logger `name`, from `level` up, where the story lines go."""
    library = logging.getLogger(name)
    library.handlers[:] = LOGGER.handlers
    library.setLevel(level)
    library.propagate = False


def story(message: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log one state change with its fields (`job`, `name`, `verdict`, …)."""
    LOGGER.log(level, message, extra={"fields": {key: value for key, value in fields.items() if value is not None}})


class Complaint:
    """Says why nothing happens, or what else is wrong, at most once a minute."""

    def __init__(self, message: str = "waiting") -> None:
        self._message = message
        self._next_s = 0.0

    def say(self, reason: object, **fields: object) -> None:
        """Log `reason` as a warning, unless something was said less than a minute ago."""
        now_s = time.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + COMPLAIN_EVERY_S
            story(self._message, level=logging.WARNING, **fields, reason=reason)
