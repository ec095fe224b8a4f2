"""the project that studies belong to unless a rule says otherwise"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Its key is the first one: access/projects.py knows it. Not given here, so that PostgreSQL counts on from it.
    op.execute("INSERT INTO project (name, title, kind) VALUES ('care', 'Care of patients', 'care')")


def downgrade() -> None:
    raise RuntimeError("Reading Room's schema only moves forward: restore a backup instead.")
