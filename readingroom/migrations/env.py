"""Alembic environment: runs migrations on the connection that ``core.database.upgrade`` hands over."""

from alembic import context

from readingroom.migrations.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    compare_type=True,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
