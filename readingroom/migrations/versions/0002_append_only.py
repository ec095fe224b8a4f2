"""audit, verdicts, addenda, consents and uses of data can only be added; a signed report stays as it was signed

The database itself refuses UPDATE and DELETE on those tables, whoever asks. Of a signed report it lets only change
what the worker adds: that it is written, and as which objects.
"""

from alembic import op

from readingroom.migrations.append_only import only_add

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("audit_event", "audit_seal", "verdict", "addendum", "consent", "patient_use")

SIGNED = ("body", "study_id", "revision", "etag", "signed_by", "signed_at")


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for table in APPEND_ONLY:
            only_add(table)
        changed = " OR ".join(["NEW.state = 'draft'", *(f"NEW.{name} IS NOT OLD.{name}" for name in SIGNED)])
        refusal = "BEGIN SELECT RAISE(ABORT, 'a signed report does not change'); END"
        op.execute(
            f"CREATE TRIGGER report_signed_update BEFORE UPDATE ON report "
            f"WHEN OLD.state <> 'draft' AND ({changed}) {refusal}"
        )
        op.execute(f"CREATE TRIGGER report_signed_delete BEFORE DELETE ON report WHEN OLD.state <> 'draft' {refusal}")
        return
    op.execute(
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        only_add(table)
    changed = " OR ".join(["NEW.state = 'draft'", *(f"NEW.{name} IS DISTINCT FROM OLD.{name}" for name in SIGNED)])
    op.execute(
        f"CREATE TRIGGER report_signed_update BEFORE UPDATE ON report FOR EACH ROW "
        f"WHEN (OLD.state <> 'draft' AND ({changed})) EXECUTE FUNCTION refuse_change()"
    )
    op.execute(
        "CREATE TRIGGER report_signed_delete BEFORE DELETE ON report FOR EACH ROW "
        "WHEN (OLD.state <> 'draft') EXECUTE FUNCTION refuse_change()"
    )


def downgrade() -> None:
    raise RuntimeError("Reading Room's schema only moves forward: restore a backup instead.")
