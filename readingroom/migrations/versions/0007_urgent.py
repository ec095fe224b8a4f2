"""urgent alerts, what happened to each (rows only ever added), and the messages about them"""

import sqlalchemy as sa
from alembic import op

from readingroom.core.database import Json, UtcDateTime
from readingroom.migrations.append_only import only_add

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _alert()
    op.create_table(
        "urgent_event",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("alert_id", sa.String(32), sa.ForeignKey("urgent_alert.id"), nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("detail", sa.String(64), nullable=False),
    )
    op.create_index("ix_urgent_event_alert_id", "urgent_event", ["alert_id"])
    only_add("urgent_event")
    op.create_table(
        "urgent_message",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("alert_id", sa.String(32), sa.ForeignKey("urgent_alert.id"), nullable=False),
        sa.Column("channel", sa.String(32), nullable=False),
        sa.Column("recipient", sa.String(128), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_try_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=False),
        sa.Column("sent_at", UtcDateTime(timezone=True), nullable=True),
        sa.UniqueConstraint("alert_id", "channel", "recipient"),
    )
    _partial_index("ix_urgent_message_waiting", "urgent_message", "next_try_at", "state = 'waiting'")


def _alert() -> None:
    op.create_table(
        "urgent_alert",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("study_id", sa.String(32), sa.ForeignKey("study.id"), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("code_value", sa.String(16), nullable=False),
        sa.Column("code_scheme", sa.String(16), nullable=False),
        sa.Column("code_meaning", sa.String(64), nullable=False),
        sa.Column("reading_id", sa.String(32), sa.ForeignKey("reading.id"), nullable=False),
        sa.Column("reader", sa.String(64), nullable=False),
        sa.Column("finding_ids", Json, nullable=False),
        sa.Column("probability", sa.Float(), nullable=True),
        sa.Column("level", sa.Integer(), nullable=False),
        sa.Column("raised_at", UtcDateTime(timezone=True), nullable=False),
        sa.Column("shown_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("shown_to", sa.String(128), nullable=False),
        sa.Column("acknowledged_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("acknowledged_by", sa.String(128), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("escalate_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("closed_at", UtcDateTime(timezone=True), nullable=True),
        sa.Column("closed_why", sa.String(32), nullable=False),
        sa.UniqueConstraint("study_id", "revision", "code_value", "code_scheme"),
    )
    _partial_index("ix_urgent_alert_open", "urgent_alert", "study_id", "closed_at IS NULL")
    _partial_index("ix_urgent_alert_due", "urgent_alert", "escalate_at", "escalate_at IS NOT NULL")


def _partial_index(name: str, table: str, column: str, where: str) -> None:
    op.create_index(name, table, [column], sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def downgrade() -> None:
    raise RuntimeError("Reading Room's schema only moves forward: restore a backup instead.")
