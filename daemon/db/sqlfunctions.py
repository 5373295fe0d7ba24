"""SQL expressions that SQLite and Postgres spell differently."""

from __future__ import annotations

import json
import math
import sqlite3
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Float, SQLColumnExpression, Text, literal
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator

from daemon.db.columns import UtcDateTime, storable

QUANTILES = (0.5, 0.95)


class _Moment(FunctionElement[Any]):
    type = UtcDateTime()
    inherit_cache = True
    name = "moment"


def now(offset_s: float | ColumnElement[float] = 0.0) -> ColumnElement[Any]:
    """The database's clock plus `offset_s` seconds (a number, or a parameter of the statement).

    Postgres: `statement_timestamp()`, which leaves an index on a time usable. SQLite: this host's clock, in the stored
    form. SQLite's own functions know only milliseconds, and two bundles may arrive within one.
    """
    return _Moment(offset_s if isinstance(offset_s, ColumnElement) else literal(float(offset_s), Float()))


@compiles(_Moment, "sqlite")
def _moment_sqlite(element: _Moment, compiler: SQLCompiler, **kw: Any) -> str:
    return f"evald_moment({compiler.process(element.clauses, **kw)})"


@compiles(_Moment, "postgresql")
def _moment_postgresql(element: _Moment, compiler: SQLCompiler, **kw: Any) -> str:
    offset = compiler.process(element.clauses, **kw)
    return f"(statement_timestamp() + make_interval(secs => {offset}))"


class _UtcDay(FunctionElement[str]):
    type = Text()
    inherit_cache = True
    name = "utc_day"


def utc_day(moment: SQLColumnExpression[Any]) -> ColumnElement[str]:
    """The day (`YYYY-MM-DD`, UTC) of a stored time."""
    return _UtcDay(moment)


@compiles(_UtcDay, "sqlite")
def _utc_day_sqlite(element: _UtcDay, compiler: SQLCompiler, **kw: Any) -> str:
    return f"substr({compiler.process(element.clauses, **kw)}, 1, 10)"


@compiles(_UtcDay, "postgresql")
def _utc_day_postgresql(element: _UtcDay, compiler: SQLCompiler, **kw: Any) -> str:
    return f"to_char({compiler.process(element.clauses, **kw)} AT TIME ZONE 'UTC', 'YYYY-MM-DD')"


class _TextAt(FunctionElement[str]):
    type = Text()
    inherit_cache = True
    name = "text_at"


def text_at(document: SQLColumnExpression[Any], key: str) -> ColumnElement[str]:
    """The text that a stored JSON object has at `key`, NULL without one."""
    return _TextAt(document, literal(storable(key), Text()))


@compiles(_TextAt, "sqlite")
def _text_at_sqlite(element: _TextAt, compiler: SQLCompiler, **kw: Any) -> str:
    document, key = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"json_extract({document}, evald_json_path({key}))"


@compiles(_TextAt, "postgresql")
def _text_at_postgresql(element: _TextAt, compiler: SQLCompiler, **kw: Any) -> str:
    document, key = (compiler.process(clause, **kw) for clause in element.clauses)
    return f"({document} ->> {key})"


class _NumberList(TypeDecorator[list[float]]):
    """A JSON list in a text that only ever is the answer of a query."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> list[float] | None:
        return None if value is None else [float(figure) for figure in json.loads(value)]


class _Quantiles(FunctionElement[Any]):
    type = _NumberList()
    inherit_cache = True
    name = "evald_quantiles"


def quantiles(figure: SQLColumnExpression[Any]) -> ColumnElement[Any]:
    """Aggregate: `[median, 95th percentile]` of the figures that are not NULL (interpolated linearly), NULL without
    any.

    SQLite 3.40 has no percentiles, and window functions took 1.1 s for a million rows where an aggregate takes 0.3 s.
    """
    return _Quantiles(figure)


@compiles(_Quantiles, "sqlite")
def _quantiles_sqlite(element: _Quantiles, compiler: SQLCompiler, **kw: Any) -> str:
    figure = compiler.process(element.clauses, **kw)
    return f"evald_quantiles({figure}) FILTER (WHERE {figure} IS NOT NULL)"


@compiles(_Quantiles, "postgresql")
def _quantiles_postgresql(element: _Quantiles, compiler: SQLCompiler, **kw: Any) -> str:
    figure = compiler.process(element.clauses, **kw)
    wanted = ", ".join(str(share) for share in QUANTILES)
    return f"to_json(percentile_cont(ARRAY[{wanted}]) WITHIN GROUP (ORDER BY {figure}))::text"


def _time_of_day(offset_s: float) -> str:
    """SQLite's clock is this host's: the one place of the database that asks it."""
    moment = datetime.now(UTC) + timedelta(seconds=offset_s)
    return moment.replace(tzinfo=None).isoformat(" ", "microseconds")


def _json_path(key: str) -> str | None:
    """The path of a key in JSON that `json.dumps` wrote. SQLite 3.40 compares the text as it is written, escapes and
    all. None for a key that no path can name: no contract may have one."""
    return None if '"' in key else f'$."{json.dumps(key)[1:-1]}"'


class _SqliteQuantiles:
    def __init__(self) -> None:
        self._figures: list[float] = []
        self.step = self._figures.append  # called once a row, a million times: no Python frame

    def finalize(self) -> str | None:
        self._figures.sort()
        return json.dumps([_interpolated(self._figures, share) for share in QUANTILES]) if self._figures else None


def _interpolated(ordered: list[float], share: float) -> float:
    """The figure at `share` of the way through `ordered`, as Postgres' percentile_cont has it."""
    place = share * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def install(connection: sqlite3.Connection) -> None:
    """Teach one SQLite connection what is behind `now`, `text_at` and `quantiles`."""
    # Declared deterministic, it is called once for each run of a statement, not for each row, as `'now'` is.
    connection.create_function("evald_moment", 1, _time_of_day, deterministic=True)
    connection.create_function("evald_json_path", 1, _json_path, deterministic=True)
    connection.create_aggregate("evald_quantiles", 1, _SqliteQuantiles)  # type: ignore[arg-type]
