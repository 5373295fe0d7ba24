"""Connections to Postgres that do not wait for ever. Imported where there is one: psycopg takes a while."""

from __future__ import annotations

import time
from collections.abc import Generator
from typing import Any

import psycopg
from sqlalchemy import Engine, event

_STEP_S = 0.2


def limit_waiting(engine: Engine, limit_s: float) -> None:
    """Have every connection of `engine` give up a server that has not answered for `limit_s`. The server's own limits
    say how long a statement may take. But a server that is stopped, or whose disk hangs, keeps the connection alive."""

    def connect(_dialect: object, _record: object, args: Any, options: Any) -> Connection:
        made = Connection.connect(*args, **options)
        made.limit_s = limit_s
        return made

    event.listen(engine, "do_connect", connect)


class Connection(psycopg.Connection[Any]):
    """Closed, with an `OperationalError`, when its server has not answered for `limit_s` (None: as long as it
    takes)."""

    limit_s: float | None = None

    def wait(self, gen: Any, interval: float = _STEP_S, *rest: Any, **named: Any) -> Any:
        """As psycopg's, which calls it for everything that it waits for."""
        return super().wait(gen if self.limit_s is None else self._within(gen, self.limit_s), interval, *rest, **named)

    def _within(self, waiting: Generator[Any, Any, Any], limit_s: float) -> Generator[Any, Any, Any]:
        """As `waiting`, but ends with an `OperationalError` after `limit_s`. Now and then psycopg sends it an empty
        answer."""
        deadline_s = time.monotonic() + limit_s
        try:
            wants = next(waiting)
            while True:
                ready = yield wants
                if not ready and time.monotonic() > deadline_s:
                    self.pgconn.finish()
                    raise psycopg.OperationalError(f"no answer from the server for {limit_s:g} s")
                wants = waiting.send(ready)
        except StopIteration as ended:
            return ended.value
