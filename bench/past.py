"""A past for a database: so many finished jobs, each with the rows that evald writes about one, made by SQL alone."""

from __future__ import annotations

from sqlalchemy import text

from daemon.db.connection import Database

_STEP = 50_000
_NUMBERS = {
    "sqlite": "(WITH RECURSIVE n(i) AS (SELECT :low UNION ALL SELECT i + 1 FROM n WHERE i < :high) SELECT i FROM n)",
    "postgresql": "(SELECT generate_series(CAST(:low AS bigint), CAST(:high AS bigint)) AS i)",
}
_ID = {"sqlite": "printf('%032x', i)", "postgresql": "lpad(to_hex(i), 32, '0')"}
_AGO = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S', 'now', printf('-%d seconds', (3000000 - i) * 10)) || '.000000'",
    "postgresql": "now() - make_interval(secs => (3000000 - i) * 10)",
}
_VERDICT = "CASE i % 5 WHEN 0 THEN 'wrong_answer' WHEN 1 THEN 'compile_error' ELSE 'passed' END"
_RUNTIME = "CASE WHEN i % 5 > 1 THEN 0.01 + (i * 7919 % 100003) / 1000.0 END"
_TIMED = "0.5, 0.01, 0.4, 0.9, 0.5, 0.6, 0.7, 'graph', 'target', 60, 0.004, 0.005, 1.2, 0.1, 1000000, '[]'"

# Each job has a result of about a kilobyte, one case, one row of statistics, one attempt and four events.
_TABLES = (
    "INSERT INTO bundle (id, dropped_name, submitter_uid, dropped_at, size_bytes, source_sha256) "
    "SELECT {id}, 'kernel' || (i % 200000), 1000 + i % 20, {ago}, 2000, NULL FROM {numbers} AS numbers",
    "INSERT INTO job (id, name, problem, labels, kind, kernel_type, submitter_uid, priority, state, fence, attempts, "
    "dropped_at, created_at, claimed_at, started_at, finished_at, verdict, phase, runtime_ms, ref_runtime_ms, speedup, "
    "queue_ms, evaluate_ms, result_json) "
    "SELECT {id}, 'kernel' || (i % 200000), 'problem' || (i % 250), '{{}}', 'compare', "
    "CASE i % 3 WHEN 0 THEN 'torch' WHEN 1 THEN 'triton' ELSE 'cuda' END, 1000 + i % 20, 0, 'finished', 1, 1, "
    "{ago}, {ago}, {ago}, {ago}, {ago}, {verdict}, 'report', {runtime}, 1.5, {runtime} * 1.5, i % 5000, 400 + i % 900, "
    "'{{\"filler\": \"' || {filler} || '\"}}' FROM {numbers} AS numbers",
    "INSERT INTO attempt (job_id, fence, number, owner, leased_at, ended_at, outcome) "
    "SELECT {id}, 1, 1, 'host-boot-1', {ago}, {ago}, 'published' FROM {numbers} AS numbers",
    "INSERT INTO evaluation (id, job_id, position, case_name, bind, verdict, phase, compiled, correct, trials_passed, "
    "trials_total, runtime_ms, ref_runtime_ms, speedup, details) "
    "SELECT -1 - i, {id}, 0, 'default', '{{}}', {verdict}, 'report', {true}, {true}, 5, 5, {runtime}, 1.5, 2.0, "
    "'{{}}' FROM {numbers} AS numbers",
    "INSERT INTO statistics (evaluation_id, side, mean_ms, std_ms, min_ms, max_ms, median_ms, percentile_95_ms, "
    "percentile_99_ms, mode, stop, sample_count, rse, target_rse, c0_us, c0_slope_us, footprint_bytes, labels) "
    "SELECT -1 - i, 'candidate', {timed} FROM {numbers} AS numbers",
    *(
        f"INSERT INTO event (job_id, at, kind) SELECT {{id}}, {{ago}}, '{kind}' FROM {{numbers}} AS numbers"
        for kind in ("registered", "leased", "started", "published")
    ),
)


def extend(database: Database, low: int, high: int) -> None:
    """Add the jobs numbered `low` up to, not including, `high`."""
    kind = "sqlite" if database.is_sqlite else "postgresql"
    words = {
        "id": _ID[kind],
        "ago": _AGO[kind],
        "numbers": _NUMBERS[kind],
        "verdict": _VERDICT,
        "runtime": _RUNTIME,
        "timed": _TIMED,
        "true": "1" if kind == "sqlite" else "true",
        "filler": "hex(zeroblob(500))" if kind == "sqlite" else "repeat('0', 1000)",
    }
    for start in range(low, high, _STEP):
        with database.write() as connection:
            for statement in _TABLES:
                values = {"low": start, "high": min(start + _STEP, high) - 1}
                connection.execute(text(statement.format(**words)), values)


def settle(database: Database) -> None:
    """Let Postgres look at what was written, as its autovacuum does with a database that lives."""
    if not database.is_sqlite:
        with database.read() as connection:
            connection.connection.driver_connection.rollback()  # type: ignore[union-attr]
            connection.connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            connection.connection.driver_connection.execute("VACUUM ANALYZE")  # type: ignore[union-attr]
