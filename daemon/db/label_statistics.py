"""Aggregates over finished jobs by the value of one label."""

from __future__ import annotations

from datetime import datetime

from daemon.db.connection import Database
from daemon.db.models import Job
from daemon.db.sqlfunctions import text_at
from daemon.db.statistics import grouped
from daemon.db.statistics_records import StatsRow


def stats_by_label(database: Database, key: str, since: datetime | None = None) -> tuple[StatsRow, ...]:
    """As `History.stats`, one group per value of the label `key`; jobs without it are the group None.

    Raises `StorageUnavailable` and `StorageRefused`.
    """
    with database.read() as connection:
        return grouped(connection, since, text_at(Job.labels, key))
