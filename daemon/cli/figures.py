"""Numbers as people read them: three digits and a unit. What is absent is a dash."""

from __future__ import annotations

import math
import sys
from datetime import UTC, datetime

ABSENT = "-"
SHORT_ID = 16
_BAR = 16
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_TIME_UNITS = (  # unit, units per millisecond, least value shown in it
    ("d", 1e-3 / _DAY, 2),
    ("h", 1e-3 / _HOUR, 2),
    ("min", 1e-3 / _MINUTE, 2),
    ("s", 1e-3, 1),
    ("ms", 1.0, 1),
    ("µs", 1e3, 1),
)


def milliseconds(value: float | None) -> str:
    """`0.0123` -> `12.3 µs`, `1234.0` -> `1.23 s`, `5400000.0` -> `90.0 min`."""
    if value is None:
        return ABSENT
    for unit, scale, least in _TIME_UNITS:
        if _rounded(abs(value) * scale) >= least:
            return f"{_digits(value * scale)} {unit}"
    return f"{_digits(value * 1e6)} ns"


def with_error(value: float | None, relative: float | None) -> str:
    """A time and its relative standard error: `12.3 µs ± 0.4 %`."""
    text = milliseconds(value)
    return text if relative is None or value is None else f"{text} ± {percent(relative)}"


def percent(share: float | None) -> str:
    """`0.044` -> `4.4 %`, `0.997` -> `> 99 %`: only all of it is called 100 %."""
    if share is None:
        return ABSENT
    text = _digits(share * 100, 2)
    return "> 99 %" if text == "100" and share < 1 else f"{text} %"


def ratio(value: float | None) -> str:
    """`0.5487` -> `0.549x`."""
    return ABSENT if value is None else f"{_digits(value)}x"


def plain(value: float | None) -> str:
    """An error or another bare figure. JSON has no infinity: the largest float stands for it."""
    if value is None:
        return ABSENT
    return "infinite" if abs(value) >= sys.float_info.max else f"{value:.3g}"


def errors(largest: float, relative: float | None) -> str:
    """`0.1 (relative 0.02)`. An error where 0 is expected alone has no relative one."""
    has_relative = relative is not None and (relative > 0 or largest == 0)
    return f"{plain(largest)} (relative {plain(relative)})" if has_relative else plain(largest)


def span(seconds: float) -> str:
    """`7.25` -> `7 s`, `4000` -> `1 h`."""
    for unit, length in (("d", _DAY), ("h", _HOUR), ("min", _MINUTE)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def ago(moment: datetime | None) -> str:
    """How long that is past: `9 s ago`."""
    return ABSENT if moment is None else f"{span((datetime.now(UTC) - moment).total_seconds())} ago"


def clock(moment: datetime | None) -> str:
    """In UTC, to the second."""
    return ABSENT if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def size(count: float) -> str:
    """Bytes: `3145728` -> `3 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:  # noqa: PLR2004
            return f"{_digits(count)} {unit}"
        count /= 1024
    return f"{_digits(count)} TiB"


def short(job_id: str) -> str:
    """Enough of a job id to type it."""
    return job_id[:SHORT_ID]


def submitter(uid: int | None) -> str:
    """Whose job it is."""
    return ABSENT if uid is None else f"uid {uid}"


def bar(share: float) -> str:
    """A bar of up to 16 characters, in eighths of a character. `share`: 0 to 1."""
    eighths = round(max(0.0, min(1.0, share)) * _BAR * 8)
    return "█" * (eighths // 8) + ("" if eighths % 8 == 0 else " ▏▎▍▌▋▊▉"[eighths % 8])


def sparkline(values: list[float]) -> str:
    """One character per value, the highest full."""
    top = max(values, default=0)
    return "".join("▁▂▃▄▅▆▇█"[min(7, int(value / top * 7.999))] if top else "▁" for value in values)


def _digits(value: float, digits: int = 3) -> str:
    value = _rounded(value, digits)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:.{min(decimals, 6)}f}"


def _rounded(value: float, digits: int = 3) -> float:
    return float(f"{value:.{digits}g}")
