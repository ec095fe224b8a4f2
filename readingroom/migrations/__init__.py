"""Schema migrations (Alembic). ``models`` imports every room's tables, so it may be imported by the top floor only."""
