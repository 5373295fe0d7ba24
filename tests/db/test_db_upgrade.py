"""Databases of earlier revisions, frozen with rows in them, become what this code needs and keep every row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from daemon.db import migrate, revision
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import AttemptOutcome
from daemon.db.repository import Repository
from daemon.errors import OperatorError
from daemon.lifecycle import JobState

FROZEN = Path(__file__).parent / "frozen"
EARLIER = sorted(script.revision for script in migrate._scripts().walk_revisions() if script.revision != migrate.head())


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table but the revision's."""
    with database.read() as connection:
        tables = set(inspect(connection).get_table_names()) - {revision.VERSION_TABLE}
        return {
            table: sorted(
                (dict(row._mapping) for row in connection.execute(text(f'SELECT * FROM "{table}"'))), key=repr
            )
            for table in tables
        }


def test_every_revision_but_the_newest_is_frozen_for_both_databases() -> None:
    kept = {path.name for path in FROZEN.iterdir()}
    assert EARLIER, "0001 is earlier"
    assert {f"{number}.{kind}.gz" for number in EARLIER for kind in ("sqlite3", "sql")} <= kept


@pytest.mark.parametrize("earlier", EARLIER)
def test_an_upgrade_keeps_every_row(thawed: str, earlier: str) -> None:
    database = Database(thawed)
    assert revision.current(database) == earlier
    before = rows(database)
    assert {"job", "bundle", "attempt", "evaluation", "sample", "event"} <= {
        name for name, kept in before.items() if kept
    }
    with pytest.raises(OperatorError) as refused:
        migrate.ensure_ready(thawed)
    assert "evald db upgrade" in str(refused.value.hint)
    assert migrate.upgrade(thawed) == migrate.head()
    after = rows(database)
    for table, kept in before.items():
        assert len(after[table]) == len(kept)
        for old, new in zip(kept, after[table], strict=True):
            assert old.items() <= new.items(), table
    assert before["job"] != [], "the comparison has something to compare"
    database.close()


@pytest.mark.parametrize("earlier", [number for number in EARLIER if number >= "0002"])
def test_no_upgrade_beside_a_daemon_that_is_there(thawed: str, earlier: str) -> None:
    database = Database(thawed)
    with database.write() as connection:
        connection.execute(text("UPDATE daemon SET lease_s = 1e9, state = 'running'"))
    with pytest.raises(OperatorError, match=r"daemons use database \S+: \S+ \(pid \d+\)") as refused:
        migrate.upgrade(thawed)
    assert "evald db upgrade --force" in str(refused.value.hint)
    assert revision.current(database) == earlier
    assert migrate.upgrade(thawed, force=True) == migrate.head()
    assert migrate.upgrade(thawed) == migrate.head(), "there is nothing to upgrade any more"
    database.close()


@pytest.mark.parametrize("is_stopped", [False, True])
@pytest.mark.parametrize("earlier", ["0002"])
def test_a_daemon_that_stopped_or_was_silent_for_its_lease_does_not_hinder_an_upgrade(
    thawed: str, earlier: str, *, is_stopped: bool
) -> None:
    database = Database(thawed)
    with database.write() as connection:
        assert connection.execute(text("SELECT count(*) FROM daemon WHERE state != 'stopped'")).scalar() == 1
        if is_stopped:  # a moment ago
            connection.execute(text("UPDATE daemon SET lease_s = 1e9, state = 'stopped'"))
    assert migrate.upgrade(thawed) == migrate.head()
    assert revision.current(database) > earlier
    database.close()


@pytest.mark.parametrize("earlier", EARLIER)
def test_an_upgraded_database_answers_and_goes_on_judging(thawed: str, earlier: str) -> None:
    migrate.upgrade(thawed)
    database = Database(thawed)
    history, repository = History(database), Repository(database)
    with database.read() as connection:
        verdicts = connection.execute(text("SELECT name, verdict FROM results ORDER BY name, verdict")).all()
    assert [tuple(row) for row in verdicts] == [
        ("torn", "rejected"),
        ("unlucky", "harness_error"),
        ("vec_add", "passed"),
        ("vec_add", "passed"),
        ("vec_add", "wrong_answer"),
    ]
    assert history.counts_by_state() == {
        JobState.QUEUED: 1, JobState.CLAIMED: 0, JobState.RUNNING: 1, JobState.FINISHED: 4, JobState.BROKEN: 1,
        JobState.WITHDRAWN: 1,
    }  # fmt: skip
    assert [job.name for job in repository.abandon("host-boot-1")] == ["running"]
    assert history.waiting_for("other-boot-2", at_most=9) == (1 if earlier >= "0003" else 2), "it deferred one"
    leases = [repository.lease_next("me", 60) for _ in range(2)]
    assert {lease.name for lease in leases if lease is not None} == {"running", "waiting"}
    assert leases[0] is not None
    repository.defer(leases[0], "it requires a GPU")
    assert history.attempts(leases[0].job_id)[-1].outcome is AttemptOutcome.DEFERRED
    assert [daemon.devices for daemon in history.daemons()] == ([] if earlier == "0001" else [()])
    database.close()
