"""`90s`, `15m`, `12h`, `7d`, `4w` and ISO dates, as options take them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from daemon.errors import OperatorError

_SPAN = re.compile(r"(\d{1,9})\s*(s|m|h|d|w)")
_MINUTES_OR_MONTHS = re.compile(r"\d+\s*M")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LONGEST = timedelta(days=365 * 500)
_HINT = "write 90s, 15m, 12h, 7d, 4w or a date such as 2026-01-31 or 2026-01-31T12:00"
_HINT_ON_DATES = "a date is UTC unless it says otherwise, as in 2026-01-31T12:00+01:00"
_CLOCKS_APART = timedelta(minutes=10)  # the asker's clock may be ahead of ours


def parse_span(text: str, option: str, hint: str = _HINT) -> timedelta:
    """How long. A date counts from then to now. Raises `OperatorError` naming `option`."""
    if (span := _span(text, option, hint)) is not None:
        return span
    since = datetime.now(UTC) - _moment(text, option, hint)
    if since < timedelta(0):
        raise OperatorError(f"{option} {text!r} is in the future", hint=_HINT_ON_DATES)
    return since


def parse_since(text: str, option: str) -> datetime:
    """The moment so long ago, or the date itself (UTC unless it says otherwise).

    Raises `OperatorError` naming `option`.
    """
    span = _span(text, option)
    if span is None:
        moment = _moment(text, option)
        if moment > datetime.now(UTC) + _CLOCKS_APART:
            raise OperatorError(f"{option} {text!r} is in the future", hint=_HINT_ON_DATES)
        return moment
    try:
        return datetime.now(UTC) - span
    except OverflowError as error:
        raise OperatorError(f"{option} {text!r} is before the calendar begins", hint=_HINT) from error


def _span(text: str, option: str, hint: str = _HINT) -> timedelta | None:
    if _MINUTES_OR_MONTHS.fullmatch(text.strip()):  # what is older than a minute is all that there is
        raise OperatorError(
            f"{option} {text!r} may be minutes or months", hint="write 1m for a minute, 30d for a month"
        )
    match = _SPAN.fullmatch(text.strip().lower())
    if match is None:
        return None
    try:
        span = timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        span = timedelta.max
    if span > _LONGEST:
        raise OperatorError(f"{option} {text!r} is too long", hint=hint)
    return span


def _moment(text: str, option: str, hint: str = _HINT) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise OperatorError(f"{option} {text!r} is neither a duration nor a date", hint=hint) from error
