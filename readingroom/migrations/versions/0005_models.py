"""reader versions, their states, and what those in shadow said; the first two can only be added to"""

import sqlalchemy as sa
from alembic import op

from readingroom.core.database import Json, UtcDateTime
from readingroom.migrations.append_only import only_add

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

APPEND_ONLY = ("model_version", "model_change")


def upgrade() -> None:
    op.create_table(
        "model_version",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(200), nullable=False),
        sa.UniqueConstraint("reader", "version"),
    )
    op.create_table(
        "model_change",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("model_id", sa.String(32), sa.ForeignKey("model_version.id"), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
    )
    op.create_index("ix_model_change_model_id", "model_change", ["model_id"])
    op.create_table(
        "shadow_reading",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("model_id", sa.String(32), sa.ForeignKey("model_version.id"), nullable=False),
        sa.Column("study_id", sa.String(32), sa.ForeignKey("study.id"), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("body", Json, nullable=True),
        sa.Column("compared", Json, nullable=True),
        sa.Column("finished_at", UtcDateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("model_id", "study_id", "revision"),
    )
    op.create_index("ix_shadow_reading_study_id", "shadow_reading", ["study_id"])
    for table in APPEND_ONLY:
        only_add(table)


def downgrade() -> None:
    raise RuntimeError("Reading Room's schema only moves forward: restore a backup instead.")
