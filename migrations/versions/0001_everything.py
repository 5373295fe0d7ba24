"""The first revision: every table, and the `results` view.

Revision: 0001, after None
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
UTC_TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")

STATES = "queued claimed running finished broken withdrawn"
VERDICTS = (
    "passed compile_error wrong_answer runtime_error timeout out_of_memory rejected integrity_violation unsupported "
    "harness_error"
)
PHASES = "intake build load inputs check measure report"
SIDES = "candidate reference"
OUTCOMES = "published retried broken expired withdrawn"
COMPARISONS = "faster same slower cannot_tell"

RESULTS_VIEW = """
CREATE VIEW results AS
SELECT
    job.id AS job_id,
    job.name AS name,
    job.problem AS problem,
    job.kind AS kind,
    job.kernel_type AS kernel_type,
    job.ref_kernel_type AS ref_kernel_type,
    evaluation.case_name AS case_name,
    job.verdict AS job_verdict,
    COALESCE(evaluation.verdict, job.verdict) AS verdict,
    COALESCE(evaluation.phase, job.phase) AS phase,
    COALESCE(evaluation.message, job.message) AS message,
    evaluation.runtime_ms AS runtime_ms,
    candidate.std_ms AS runtime_std_ms,
    candidate.min_ms AS runtime_min_ms,
    candidate.median_ms AS runtime_median_ms,
    candidate.percentile_95_ms AS runtime_p95_ms,
    candidate.sample_count AS sample_count,
    candidate.mode AS timing_mode,
    evaluation.ref_runtime_ms AS ref_runtime_ms,
    evaluation.speedup AS speedup,
    evaluation.comparison AS comparison,
    evaluation.correct AS correct,
    evaluation.trials_passed AS trials_passed,
    evaluation.trials_total AS trials_total,
    evaluation.max_abs_error AS max_abs_error,
    evaluation.max_rel_error AS max_rel_error,
    evaluation.compile_ms AS compile_ms,
    environment.device AS device,
    environment.device_name AS gpu_name,
    environment.cpu AS cpu_name,
    environment.isolation AS isolation,
    environment.evald AS evald_version,
    job.submitter_uid AS submitter_uid,
    job.priority AS priority,
    job.attempts AS attempts,
    job.dropped_at AS submitted_at,
    job.started_at AS started_at,
    job.finished_at AS finished_at,
    job.queue_ms AS queue_ms,
    job.evaluate_ms AS evaluate_ms,
    bundle.source_sha256 AS source_sha256,
    bundle.contract_sha256 AS contract_sha256
FROM job
JOIN bundle ON bundle.id = job.id
LEFT JOIN environment ON environment.id = job.environment_id
LEFT JOIN evaluation ON evaluation.job_id = job.id
LEFT JOIN statistics AS candidate ON candidate.evaluation_id = evaluation.id AND candidate.side = 'candidate'
WHERE job.verdict IS NOT NULL
"""


def upgrade() -> None:
    _create_bundle()
    _create_environment()
    _create_job()
    _create_attempt()
    _create_evaluation()
    _create_event()
    _create_metric()
    _create_sample()
    _create_statistics()
    op.execute(RESULTS_VIEW)


def _one_of(table: str, column: str, words: str) -> sa.CheckConstraint:
    listed = ", ".join(f"'{word}'" for word in words.split())
    return sa.CheckConstraint(f"{column} IN ({listed})", name=op.f(f"ck_{table}_{column}"))


def _create_bundle() -> None:
    op.create_table(
        "bundle",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("dropped_name", sa.Text(), nullable=False),
        sa.Column("submitter_uid", ROW_ID),
        sa.Column("dropped_at", UTC_TIME, nullable=False),
        sa.Column("size_bytes", ROW_ID, nullable=False),
        sa.Column("file_count", sa.Integer()),
        sa.Column("source_sha256", sa.String(length=64)),
        sa.Column("contract_sha256", sa.String(length=64)),
        sa.Column("contract_json", sa.Text()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bundle")),
    )
    op.create_index("ix_bundle_source_sha256", "bundle", ["source_sha256"])


def _create_environment() -> None:
    op.create_table(
        "environment",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("device_name", sa.Text()),
        sa.Column("device_uuid", sa.Text()),
        sa.Column("driver", sa.Text()),
        sa.Column("cuda", sa.Text()),
        sa.Column("torch", sa.Text()),
        sa.Column("triton", sa.Text()),
        sa.Column("cpu", sa.Text()),
        sa.Column("isolation", sa.Text(), nullable=False),
        sa.Column("evald", sa.Text(), nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_environment")),
        sa.UniqueConstraint("content_sha256", name=op.f("uq_environment_content_sha256")),
    )


def _create_job() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("problem", sa.Text()),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("kind", sa.String(length=24)),
        sa.Column("kernel_type", sa.String(length=64)),
        sa.Column("ref_kernel_type", sa.String(length=64)),
        sa.Column("requires_gpu", sa.String(length=64)),
        sa.Column("submitter_uid", ROW_ID),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=24), nullable=False),
        sa.Column("fence", ROW_ID, nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", UTC_TIME),
        sa.Column("work_name", sa.Text()),
        sa.Column("progress", sa.Text()),
        sa.Column("dropped_at", UTC_TIME, nullable=False),
        sa.Column("created_at", UTC_TIME, nullable=False),
        sa.Column("claimed_at", UTC_TIME),
        sa.Column("started_at", UTC_TIME),
        sa.Column("finished_at", UTC_TIME),
        sa.Column("verdict", sa.String(length=24)),
        sa.Column("phase", sa.String(length=24)),
        sa.Column("message", sa.Text()),
        sa.Column("runtime_ms", sa.Double()),
        sa.Column("ref_runtime_ms", sa.Double()),
        sa.Column("speedup", sa.Double()),
        sa.Column("queue_ms", sa.Double()),
        sa.Column("evaluate_ms", sa.Double()),
        sa.Column("environment_id", ROW_ID),
        sa.Column("result_json", sa.Text()),
        sa.CheckConstraint(
            "(state IN ('claimed', 'running')) = (lease_owner IS NOT NULL)", name=op.f("ck_job_lease_owner")
        ),
        sa.CheckConstraint(
            "(state IN ('claimed', 'running')) = (lease_until IS NOT NULL)", name=op.f("ck_job_lease_until")
        ),
        sa.CheckConstraint(
            "(state IN ('finished', 'broken')) = (finished_at IS NOT NULL)", name=op.f("ck_job_finished_at_when_final")
        ),
        sa.CheckConstraint(
            "(state IN ('finished', 'broken')) = (verdict IS NOT NULL)", name=op.f("ck_job_verdict_when_final")
        ),
        sa.CheckConstraint("state <> 'finished' OR result_json IS NOT NULL", name=op.f("ck_job_result_when_finished")),
        sa.CheckConstraint("fence >= 0 AND attempts >= 0", name=op.f("ck_job_counters")),
        sa.CheckConstraint("length(id) = 32", name=op.f("ck_job_id_length")),
        sa.ForeignKeyConstraint(["environment_id"], ["environment.id"], name=op.f("fk_job_environment_id_environment")),
        sa.ForeignKeyConstraint(["id"], ["bundle.id"], name=op.f("fk_job_id_bundle")),
        _one_of("job", "state", STATES),
        _one_of("job", "verdict", VERDICTS),
        _one_of("job", "phase", PHASES),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("work_name", name=op.f("uq_job_work_name")),
    )
    _create_job_indexes()


def _create_job_indexes() -> None:
    is_queued, is_finished = sa.text("state = 'queued'"), sa.text("finished_at IS NOT NULL")
    following: list[str | sa.TextClause] = ["state", sa.text("priority DESC"), "created_at", "id"]
    op.create_index("ix_job_next", "job", following, sqlite_where=is_queued, postgresql_where=is_queued)
    op.create_index("ix_job_created_at", "job", ["created_at", "id"])
    op.create_index("ix_job_name", "job", ["name", "created_at", "id"])
    op.create_index("ix_job_problem", "job", ["problem", "created_at", "id"])
    op.create_index("ix_job_state", "job", ["state", "created_at", "id"])
    op.create_index("ix_job_lease_owner", "job", ["lease_owner"])
    op.create_index("ix_job_lease_until", "job", ["lease_until"])
    figures = ["verdict", "runtime_ms", "speedup", "evaluate_ms", "queue_ms"]
    for key in ("verdict", "problem", "name", "kernel_type", "submitter_uid", "finished_at"):
        columns = list(dict.fromkeys([key, *figures, "finished_at"]))
        name = f"ix_job_stats_{key}"
        op.create_index(name, "job", columns, sqlite_where=is_finished, postgresql_where=is_finished)


def _create_attempt() -> None:
    op.create_table(
        "attempt",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("fence", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer()),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("leased_at", UTC_TIME, nullable=False),
        sa.Column("ended_at", UTC_TIME),
        sa.Column("outcome", sa.String(length=24)),
        sa.Column("reason", sa.Text()),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name=op.f("ck_attempt_outcome_when_ended")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_attempt_job_id_job"), ondelete="CASCADE"),
        _one_of("attempt", "outcome", OUTCOMES),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("job_id", "fence", name=op.f("uq_attempt_job_id_fence")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_attempt_job_id_number")),
    )


def _create_evaluation() -> None:
    op.create_table(
        "evaluation",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("case_name", sa.Text(), nullable=False),
        sa.Column("bind", JSON, nullable=False),
        sa.Column("verdict", sa.String(length=24), nullable=False),
        sa.Column("phase", sa.String(length=24), nullable=False),
        sa.Column("message", sa.Text()),
        sa.Column("failed_side", sa.String(length=24)),
        sa.Column("compiled", sa.Boolean(), nullable=False),
        sa.Column("correct", sa.Boolean()),
        sa.Column("trials_passed", sa.Integer(), nullable=False),
        sa.Column("trials_total", sa.Integer(), nullable=False),
        sa.Column("max_abs_error", sa.Double()),
        sa.Column("max_rel_error", sa.Double()),
        sa.Column("runtime_ms", sa.Double()),
        sa.Column("ref_runtime_ms", sa.Double()),
        sa.Column("speedup", sa.Double()),
        sa.Column("comparison", sa.String(length=24)),
        sa.Column("compile_ms", sa.Double()),
        sa.Column("details", JSON, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_evaluation_job_id_job"), ondelete="CASCADE"),
        _one_of("evaluation", "verdict", VERDICTS),
        _one_of("evaluation", "phase", PHASES),
        _one_of("evaluation", "failed_side", SIDES),
        _one_of("evaluation", "comparison", COMPARISONS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluation")),
        sa.UniqueConstraint("job_id", "position", name=op.f("uq_evaluation_job_id_position")),
    )


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("job_id", sa.String(length=32)),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text()),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_event_job_id_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
    )
    op.create_index("ix_event_job_id", "event", ["job_id", "id"])


def _create_metric() -> None:
    op.create_table(
        "metric",
        sa.Column("evaluation_id", ROW_ID, nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_metric_evaluation_id_evaluation"), ondelete="CASCADE"
        ),
        _one_of("metric", "side", SIDES),
        sa.PrimaryKeyConstraint("evaluation_id", "side", "name", name=op.f("pk_metric")),
    )


def _create_sample() -> None:
    op.create_table(
        "sample",
        sa.Column("evaluation_id", ROW_ID, nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("samples_ms", sa.LargeBinary(), nullable=False),
        sa.Column("calls", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"], ["evaluation.id"], name=op.f("fk_sample_evaluation_id_evaluation"), ondelete="CASCADE"
        ),
        _one_of("sample", "side", SIDES),
        sa.PrimaryKeyConstraint("evaluation_id", "side", name=op.f("pk_sample")),
    )


def _create_statistics() -> None:
    op.create_table(
        "statistics",
        sa.Column("evaluation_id", ROW_ID, nullable=False),
        sa.Column("side", sa.String(length=24), nullable=False),
        sa.Column("mean_ms", sa.Double(), nullable=False),
        sa.Column("std_ms", sa.Double(), nullable=False),
        sa.Column("min_ms", sa.Double(), nullable=False),
        sa.Column("max_ms", sa.Double(), nullable=False),
        sa.Column("median_ms", sa.Double(), nullable=False),
        sa.Column("percentile_95_ms", sa.Double(), nullable=False),
        sa.Column("percentile_99_ms", sa.Double(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("stop", sa.Text(), nullable=False),
        sa.Column("sample_count", sa.Integer(), nullable=False),
        sa.Column("rse", sa.Double()),
        sa.Column("target_rse", sa.Double(), nullable=False),
        sa.Column("c0_us", sa.Double(), nullable=False),
        sa.Column("c0_slope_us", sa.Double(), nullable=False),
        sa.Column("isolated_ms", sa.Double()),
        sa.Column("line_fit_residual", sa.Double()),
        sa.Column("inside_ms", sa.Double()),
        sa.Column("copy_ms", sa.Double()),
        sa.Column("footprint_bytes", ROW_ID, nullable=False),
        sa.Column("labels", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["evaluation_id"],
            ["evaluation.id"],
            name=op.f("fk_statistics_evaluation_id_evaluation"),
            ondelete="CASCADE",
        ),
        _one_of("statistics", "side", SIDES),
        sa.PrimaryKeyConstraint("evaluation_id", "side", name=op.f("pk_statistics")),
    )
