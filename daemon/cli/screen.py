"""What reaches people and scripts: data on stdout, messages on stderr; rich on a terminal, plain text in a pipe."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console


_NOT_ASCII = re.compile(r"[^\n -~]")
_GAP = 2  # between columns
_FOLDED = 30  # columns that a folded cell keeps on a narrow screen, if names can be shortened
_LEAST_FOLDED = 12
_LEAST_NAME = 14  # with it a leaderboard has its place on a screen of 80
_LONG_NAME = 40  # longer than that are few names of people


class Styled(str):
    """Text with a style for terminals ("green", "bold red"). In a pipe it is just its text."""

    __slots__ = ("style",)
    style: str

    def __new__(cls, text: object, style: str = "") -> Styled:
        styled = super().__new__(cls, "" if text is None else str(text))
        styled.style = style
        return styled


@dataclass(frozen=True)
class Column:
    """One column of a table. `right`: figures. `flexible`: the one that is cut or folded where the screen is narrow.
    `drawn`: a picture of figures beside it, for terminals, left out where the screen is narrow. `shortened`: a name,
    which gives way to the rest."""

    title: str
    right: bool = False
    flexible: bool = False
    drawn: bool = False
    shortened: bool = False


def on_terminal(stream: TextIO | None = None) -> bool:
    """Whether a person looks at `stream` (default stdout)."""
    stream = sys.stdout if stream is None else stream
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def console(*, err: bool = False) -> Console:
    """A rich console on stdout or stderr. It honours NO_COLOR."""
    from rich.console import Console

    return Console(stderr=err, highlight=False, soft_wrap=False)


def clear() -> None:
    """An empty screen with the cursor at its top; in a pipe nothing."""
    if on_terminal():
        sys.stdout.write("\x1b[H\x1b[2J")


def document(value: object) -> None:
    """One JSON document on stdout. Raises `ValueError` for NaN and Infinity."""
    sys.stdout.write(readable(json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False, default=str)) + "\n")


def readable(document: str) -> str:
    """JSON in which what drives a terminal is escaped. JSON itself escapes the first 32 characters alone; a name may
    hold the 32 from U+0080 on, or characters that reverse the text behind them."""
    return _NOT_ASCII.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], document)


def line(text: str = "") -> None:
    """One line of data."""
    if isinstance(text, Styled) and text.style and on_terminal():
        console().print(_rich(text), soft_wrap=True)
        return
    sys.stdout.write(f"{harmless(text)}\n")


def marked(text: str, length: int, style: str) -> None:
    """One line of data whose first `length` characters have a style."""
    if not on_terminal():
        sys.stdout.write(f"{harmless(text)}\n")
        return
    from rich.text import Text

    shown = Text(harmless(text))
    shown.stylize(style, 0, length)
    console().print(shown, soft_wrap=True)


def heading(text: str, *, is_first: bool = False) -> None:
    """The title of a section, after an empty line unless it `is_first`."""
    if not is_first:
        line()
    line(Styled(text, "bold"))


def say(text: str) -> None:
    """A message: what is going on, what to type next. If it cannot be written, say to a full disk, it is lost."""
    with suppress(OSError):
        sys.stderr.write(f"{harmless(text)}\n")
        sys.stderr.flush()


def say_there_are_more(limit: int) -> None:
    """Below a table that was cut after `limit` lines."""
    say(f"there are more; --limit {limit * 10} shows more of them")


def warn(text: str) -> None:
    """A message nobody should miss."""
    if on_terminal(sys.stderr):
        console(err=True).print(_rich(Styled(f"evald: warning: {text}", "yellow")), soft_wrap=True)
    else:
        say(f"evald: warning: {text}")


def table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, indent: int = 0) -> None:
    """A table on stdout; nothing at all for no rows."""
    rows = [[_one_line(cell) for cell in row] for row in rows]
    if not rows:
        return
    if on_terminal():
        _rich_table(columns, rows, indent)
    else:
        _plain_table(columns, rows, indent)


def titled_table(
    title: str, columns: Sequence[Column], rows: Iterable[Sequence[str]], *, indent: int = 0, is_first: bool = False
) -> None:
    """A table below its heading; nothing at all for no rows."""
    if rows := list(rows):
        heading(title, is_first=is_first)
        table(columns, rows, indent=indent)


def fields(pairs: Iterable[tuple[str, str | None]], *, indent: int = 0) -> None:
    """Print lines of `name value`, aligned. A value of None is left out; further lines of a value are indented below
    it."""
    known = [(name, value) for name, value in pairs if value is not None]
    width = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        first, *more = harmless(value).split("\n")
        pad = " " * indent
        if on_terminal():
            from rich.text import Text

            text = Text(f"{pad}{name.ljust(width)}  ", style="dim")
            text.append(first, style=getattr(value, "style", "") or "not dim")
            console().print(text, soft_wrap=True)
        else:
            sys.stdout.write(f"{pad}{name.ljust(width)}  {first}".rstrip() + "\n")
        for further in more:
            sys.stdout.write(f"{pad}{' ' * width}  {further}\n")


def harmless(text: str) -> str:
    """`text` without what drives a terminal, because names and texts of others may hold anything. Lines and tabs
    stay."""
    if text.isprintable():
        return str(text)
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)


def _one_line(cell: str) -> str:
    """The same for a cell of a table, which has one line."""
    if cell.isprintable():
        return cell
    clean = "".join(c if c.isprintable() else " " for c in cell)
    return Styled(clean, cell.style) if isinstance(cell, Styled) else clean


def _plain_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], indent: int) -> None:
    titles = [column.title for column in columns]
    widths = [_plain_width(list(map(_places, cells))) for cells in zip(titles, *rows, strict=True)]
    for row in [titles, *rows]:
        parts = []
        for cell, width, column in zip(row, widths, columns, strict=True):
            pad = " " * (width - _places(cell))
            parts.append(pad + cell if column.right else cell + pad)
        sys.stdout.write(" " * indent + (" " * _GAP).join(parts).rstrip() + "\n")


def _plain_width(lengths: Sequence[int]) -> int:
    """The width of the longest cell, without those that are out of all proportion. Such a cell shifts what follows in
    its own row, but pads no other row. Nothing is cut, because a program may read it."""
    limit = max(_LONG_NAME, 2 * sorted(lengths)[len(lengths) // 2])
    return max(length for length in lengths if length <= limit)


def _places(text: str) -> int:
    """How many places of a screen `text` takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _rich_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], indent: int) -> None:
    from rich.padding import Padding
    from rich.table import Table

    width = console().width - indent
    fitting = _fitting(columns, rows, width)
    if fitting is None:
        _records(columns, rows, indent, width)
        return
    grid = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
    columns, rows = fitting
    for column in columns:
        grid.add_column(
            column.title,
            justify="right" if column.right else "left",
            no_wrap=not column.flexible,
            overflow="ellipsis" if not column.flexible else "fold",
        )
    for row in rows:
        grid.add_row(*(_rich(cell) for cell in row))
    console().print(Padding(grid, (0, 0, 0, indent)))


def _fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[Column], Sequence[Sequence[str]]] | None:
    """The columns and rows that the screen has room for. First pictures are left out, then names are shortened; figures
    are never cut. None: even then there is no room."""
    from rich.cells import cell_len

    widest = [max(map(cell_len, (column.title, *cells))) for column, *cells in zip(columns, *rows, strict=True)]
    if sum(widest) + _GAP * (len(widest) - 1) <= width:
        return columns, rows
    kept = [place for place, column in enumerate(columns) if not column.drawn]
    others = [widest[place] if not columns[place].flexible else min(widest[place], _FOLDED) for place in kept]
    excess = sum(others) + _GAP * (len(kept) - 1) - width
    limits = {place: max(widest[place] - excess, _LEAST_NAME) for place in kept if columns[place].shortened}
    least = [min(widest[place], limits.get(place, _least(columns[place], widest[place]))) for place in kept]
    if sum(least) + _GAP * (len(kept) - 1) > width:
        return None
    shown = [[_shortened(row[place], limits.get(place)) for place in kept] for row in rows]
    return [columns[place] for place in kept], shown


def _least(column: Column, widest: int) -> int:
    return _LEAST_FOLDED if column.flexible else widest


def _records(columns: Sequence[Column], rows: Sequence[Sequence[str]], indent: int, width: int) -> None:
    """Rows that are too wide for the screen, as records: each cell behind its title, as many on a line as there is room
    for."""
    from rich.text import Text

    for row in rows:
        shown, used = Text(" " * indent), 0
        for column, cell in zip(columns, row, strict=True):
            if not cell or column.drawn:
                continue
            pair = Text.assemble((f"{column.title} " if column.title else "", "dim"), _rich(cell))
            if used and used + _GAP + pair.cell_len > width:
                shown.append("\n" + " " * (indent + _GAP))
                used = _GAP
            elif used:
                shown.append(" " * _GAP)
                used += _GAP
            shown.append_text(pair)
            used += pair.cell_len
        console().print(shown, soft_wrap=True)


def _shortened(cell: str, limit: int | None) -> str:
    """`cell` without its middle, because names that are alike differ at the end. `limit`: in columns of the screen."""
    from rich.cells import cell_len

    if limit is None or cell_len(cell) <= limit:
        return cell
    tail_limit = (limit - 1) // 2
    head, tail = _within(cell, limit - 1 - tail_limit), _within(cell[::-1], tail_limit)[::-1]
    return Styled(f"{head}…{tail}", getattr(cell, "style", ""))


def _within(text: str, limit: int) -> str:
    """The beginning of `text` that fits into `limit` columns of the screen: a character may take none or two of
    them."""
    from rich.cells import cell_len

    end, used = 0, 0
    while end < len(text) and (used := used + cell_len(text[end])) <= limit:
        end += 1
    return text[:end]


def _rich(cell: str) -> Any:
    from rich.text import Text

    return Text(harmless(cell), style=getattr(cell, "style", ""))
