"""ncu's table of raw metrics (`--page raw --csv`), read as untrusted text. Pure.

One line of names, one of units, then one line per launch, every field quoted. Before and between them ncu writes lines
that begin with `==`, and whatever else it has to say; they are kept as its messages. Numbers may carry thousands
separators; a metric without a value is empty, `n/a`, `nan` or `inf`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from daemon.executor.cells.capture import printable

MAX_REPORT_BYTES = 4 << 20
_MAX_LAUNCHES = 10_000
_MAX_MESSAGES = 20
_LINE_CHARS = 100_000  # csv takes no longer field
_LARGEST = 1e30
_NAME_CHARS = 300
_UNIT_CHARS = 40
_METRIC = re.compile(r"[A-Za-z0-9_.:]{1,200}")
_KERNEL = "Kernel Name"
_NO_METRIC = frozenset(
    ("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Block Size", "Grid Size")
) | {"Device", "CC"}
_PREFIXES = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_UNITS = {f"{prefix}{unit}": factor for prefix, factor in _PREFIXES.items() for unit in ("byte", "hz")}
_UNITS |= {f"{prefix}B": factor for prefix, factor in _PREFIXES.items()}
_UNITS |= {"Khz": 1e3, "Hz": 1.0, "KHz": 1e3, "MHz": 1e6, "GHz": 1e9}
_UNITS |= {f"{short}{unit}": factor for short, factor in (("n", 1e-9), ("u", 1e-6), ("m", 1e-3), ("", 1.0))
           for unit in ("second", "s")}  # fmt: skip


@dataclass(frozen=True)
class Launch:
    """One launch of one kernel: metrics by ncu's name in base units (byte, second, hertz)."""

    kernel: str
    metrics: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What ncu printed. `messages`: its own lines."""

    launches: tuple[Launch, ...] = ()
    units: dict[str, str] = field(default_factory=dict)
    messages: tuple[str, ...] = ()


def read(text: str) -> Report:
    """What the table in `text` says. Text without one gives a report without launches."""
    table, messages = _split(text)
    rows = (_fields(line) for line in table)
    names = next(rows, [])
    if _KERNEL not in names:
        return Report(messages=tuple(messages))
    units = {name: printable(unit[:_UNIT_CHARS]) for name, unit in zip(names, next(rows, []), strict=False)}
    columns = [(index, name) for index, name in enumerate(names) if _METRIC.fullmatch(name) and name not in _NO_METRIC]
    launches: list[Launch] = []
    for row in rows:
        if len(row) == len(names) and len(launches) < _MAX_LAUNCHES:
            launches.append(_launch(row, names.index(_KERNEL), columns, units))
    kept = {name: units.get(name, "") for _, name in columns}
    return Report(tuple(launches), kept, tuple(messages))


def _split(text: str) -> tuple[list[str], list[str]]:
    """The lines of the table, and the first of all others."""
    table: list[str] = []
    messages: list[str] = []
    for line in text.splitlines():
        if len(line) > _LINE_CHARS:
            continue
        if line.startswith('"') and (table or f'"{_KERNEL}"' in line):
            table.append(line)
        elif line.strip() and len(messages) < _MAX_MESSAGES:
            messages.append(printable(line.strip()[:_NAME_CHARS]))
    return table, messages


def _fields(line: str) -> list[str]:
    """The fields of each line by itself: a quote that is not closed must not swallow the lines below it."""
    return next(csv.reader([line]), [])


def _launch(row: list[str], kernel: int, columns: list[tuple[int, str]], units: dict[str, str]) -> Launch:
    metrics = dict(_values(row, columns, units))
    return Launch(printable(row[kernel][:_NAME_CHARS]), metrics)


def _values(row: list[str], columns: list[tuple[int, str]], units: dict[str, str]) -> Iterator[tuple[str, float]]:
    for index, name in columns:
        value = number(row[index])
        if value is not None:
            yield name, value * factor(units.get(name, ""))


def number(text: str) -> float | None:
    """A number with or without thousands separators; None for everything else, and for what no counter reaches: sums
    and ratios of it must stay finite."""
    try:
        value = float(text.replace(",", ""))
    except ValueError:
        return None
    if not abs(value) < _LARGEST:  # also NaN
        return None
    return 0.0 if abs(value) < 1 / _LARGEST else value


def factor(unit: str) -> float:
    """What a value in `unit` is multiplied by to be in base units: `Gbyte/second` 1e9, `nsecond` 1e-9, unknown 1."""
    above, _, below = unit.partition("/")
    return _UNITS.get(above, 1.0) / (_UNITS.get(below, 1.0) if below else 1.0)
