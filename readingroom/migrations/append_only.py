"""Tables that can only be added to: the database itself refuses UPDATE and DELETE, whoever asks."""

from alembic import op


def only_add(table: str) -> None:
    """Refuse every change of the rows of ``table``. On PostgreSQL by ``refuse_change``, a function that 0002 makes."""
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
        return
    op.execute(
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        f"FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
    )
