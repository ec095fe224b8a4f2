"""cohorts, their versions, label sets and evaluations on the locked part: tables that can only be added to"""

import sqlalchemy as sa
from alembic import op

from readingroom.core.database import Json, UtcDateTime
from readingroom.migrations.append_only import only_add

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

APPEND_ONLY = (
    "cohort",
    "cohort_part",
    "cohort_version",
    "cohort_member",
    "cohort_member_removed",
    "label_set",
    "label",
    "locked_evaluation",
)


def upgrade() -> None:
    op.create_table(
        "cohort",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("title", sa.String(length=128), nullable=False),
        sa.Column("project_id", sa.Integer(), nullable=False),
        sa.Column("purpose", sa.String(length=16), nullable=False),
        sa.Column("definition", Json, nullable=False),
        sa.Column("shares", Json, nullable=False),
        sa.Column("secret", sa.String(length=256), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["project.id"], name=op.f("fk_cohort_project_id_project")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohort")),
        sa.UniqueConstraint("name", name=op.f("uq_cohort_name")),
    )
    op.create_index(op.f("ix_cohort_project_id"), "cohort", ["project_id"], unique=False)
    op.create_table(
        "cohort_part",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("cohort_id", sa.String(length=32), nullable=False),
        sa.Column("identity", sa.String(length=32), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"], name=op.f("fk_cohort_part_cohort_id_cohort")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohort_part")),
        sa.UniqueConstraint("cohort_id", "identity", name=op.f("uq_cohort_part_cohort_id_identity")),
    )
    op.create_table(
        "cohort_version",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("cohort_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("grouping", sa.String(length=16), nullable=False),
        sa.Column("left_out", Json, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"], name=op.f("fk_cohort_version_cohort_id_cohort")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohort_version")),
        sa.UniqueConstraint("cohort_id", "number", name=op.f("uq_cohort_version_cohort_id_number")),
    )
    op.create_table(
        "cohort_member",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("study_id", sa.String(length=32), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=True),
        sa.Column("file", sa.Text(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=True),
        sa.Column("group", sa.String(length=32), nullable=False),
        sa.Column("part", sa.String(length=16), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["study.id"], name=op.f("fk_cohort_member_study_id_study")),
        sa.ForeignKeyConstraint(
            ["version_id"], ["cohort_version.id"], name=op.f("fk_cohort_member_version_id_cohort_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cohort_member")),
    )
    op.create_index(op.f("ix_cohort_member_patient_id"), "cohort_member", ["patient_id"], unique=False)
    op.create_index(op.f("ix_cohort_member_study_id"), "cohort_member", ["study_id"], unique=False)
    op.create_index(op.f("ix_cohort_member_version_id"), "cohort_member", ["version_id"], unique=False)
    op.create_table(
        "label_set",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("version_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("complete", Json, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("created_by", sa.String(length=128), nullable=False),
        sa.Column("created_at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["version_id"], ["cohort_version.id"], name=op.f("fk_label_set_version_id_cohort_version")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_set")),
        sa.UniqueConstraint("version_id", "number", name=op.f("uq_label_set_version_id_number")),
    )
    op.create_table(
        "cohort_member_removed",
        sa.Column("member_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["member_id"], ["cohort_member.id"], name=op.f("fk_cohort_member_removed_member_id_cohort_member")
        ),
        sa.PrimaryKeyConstraint("member_id", name=op.f("pk_cohort_member_removed")),
    )
    op.create_table(
        "label",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("set_id", sa.String(length=32), nullable=False),
        sa.Column("member_id", sa.Integer(), nullable=False),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("verdict_id", sa.String(length=32), nullable=False),
        sa.Column("body", Json, nullable=False),
        sa.ForeignKeyConstraint(["member_id"], ["cohort_member.id"], name=op.f("fk_label_member_id_cohort_member")),
        sa.ForeignKeyConstraint(["set_id"], ["label_set.id"], name=op.f("fk_label_set_id_label_set")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
    )
    op.create_index(op.f("ix_label_member_id"), "label", ["member_id"], unique=False)
    op.create_index(op.f("ix_label_set_id"), "label", ["set_id"], unique=False)
    op.create_table(
        "locked_evaluation",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("cohort_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("label_set_id", sa.String(length=32), nullable=False),
        sa.Column("reader", sa.String(length=64), nullable=False),
        sa.Column("reader_version", sa.String(length=32), nullable=False),
        sa.Column("weights_sha256", sa.String(length=64), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("result", Json, nullable=False),
        sa.Column("by", sa.String(length=128), nullable=False),
        sa.Column("at", UtcDateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cohort_id"], ["cohort.id"], name=op.f("fk_locked_evaluation_cohort_id_cohort")),
        sa.ForeignKeyConstraint(
            ["label_set_id"], ["label_set.id"], name=op.f("fk_locked_evaluation_label_set_id_label_set")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_locked_evaluation")),
        sa.UniqueConstraint("cohort_id", "number", name=op.f("uq_locked_evaluation_cohort_id_number")),
    )

    for table in APPEND_ONLY:
        only_add(table)


def downgrade() -> None:
    raise RuntimeError("Reading Room's schema only moves forward: restore a backup instead.")
