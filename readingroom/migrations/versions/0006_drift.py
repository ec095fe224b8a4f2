"""the drift watch: who is watched, streams of numbers, points of control charts, how far has been looked

Points and restarts can only be added. Readings and reports get the index by which new ones are found.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Text
from sqlalchemy.dialects import postgresql

import readingroom.core.database
from readingroom.migrations.append_only import only_add

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

APPEND_ONLY = ("drift_point", "drift_restart")
SOURCES = ("readings", "reports")


def upgrade() -> None:
    _cursor()
    _watch_and_restart()
    _stream()
    _point()
    op.create_index(op.f("ix_reading_finished_at"), "reading", ["finished_at"], unique=False)
    op.create_index(op.f("ix_report_signed_at"), "report", ["signed_at"], unique=False)
    for table in APPEND_ONLY:
        only_add(table)


def _cursor() -> None:
    table = op.create_table(
        "drift_cursor",
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("at", readingroom.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("ref", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("source", name=op.f("pk_drift_cursor")),
    )
    beginning = datetime(1970, 1, 1, tzinfo=UTC)
    op.bulk_insert(table, [{"source": source, "at": beginning, "ref": ""} for source in SOURCES])


def _watch_and_restart() -> None:
    op.create_table(
        "drift_watch",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("reader", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=32), nullable=False),
        sa.Column("manufacturer", sa.String(length=64), nullable=False),
        sa.Column("model", sa.String(length=64), nullable=False),
        sa.Column("kernel", sa.String(length=64), nullable=False),
        sa.Column("alert_id", sa.String(length=32), nullable=True),
        sa.Column("created_at", readingroom.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_watch")),
        sa.UniqueConstraint(
            "reader",
            "version",
            "manufacturer",
            "model",
            "kernel",
            name=op.f("uq_drift_watch_reader_version_manufacturer_model_kernel"),
        ),
    )
    op.create_table(
        "drift_restart",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("watch_id", sa.String(length=32), nullable=False),
        sa.Column("at", readingroom.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(length=128), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["watch_id"], ["drift_watch.id"], name=op.f("fk_drift_restart_watch_id_drift_watch")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_restart")),
    )
    op.create_index(op.f("ix_drift_restart_watch_id"), "drift_restart", ["watch_id"], unique=False)


def _stream() -> None:
    json = sa.JSON().with_variant(postgresql.JSONB(astext_type=Text()), "postgresql")
    op.create_table(
        "drift_stream",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("watch_id", sa.String(length=32), nullable=False),
        sa.Column("measure", sa.String(length=64), nullable=False),
        sa.Column("chart", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("baseline", json, nullable=True),
        sa.Column("baseline_from", readingroom.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("baseline_until", readingroom.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("pending", json, nullable=False),
        sa.Column("pending_from", readingroom.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("level", sa.Double(), nullable=True),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.Column("points_before", sa.Integer(), nullable=False),
        sa.Column("in_control", sa.Integer(), nullable=False),
        sa.Column("alarm_since", readingroom.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.Column("last_at", readingroom.core.database.UtcDateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["watch_id"], ["drift_watch.id"], name=op.f("fk_drift_stream_watch_id_drift_watch")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_stream")),
        sa.UniqueConstraint("watch_id", "measure", name=op.f("uq_drift_stream_watch_id_measure")),
    )


def _point() -> None:
    op.create_table(
        "drift_point",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("stream_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("from_at", readingroom.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("until_at", readingroom.core.database.UtcDateTime(timezone=True), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("statistic", sa.Double(), nullable=False),
        sa.Column("centre", sa.Double(), nullable=False),
        sa.Column("lower", sa.Double(), nullable=True),
        sa.Column("upper", sa.Double(), nullable=True),
        sa.Column("out", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["stream_id"], ["drift_stream.id"], name=op.f("fk_drift_point_stream_id_drift_stream")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_point")),
        sa.UniqueConstraint("stream_id", "number", name=op.f("uq_drift_point_stream_id_number")),
    )


def downgrade() -> None:
    raise RuntimeError("Reading Room's schema only moves forward: restore a backup instead.")
