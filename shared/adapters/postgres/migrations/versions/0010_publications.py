"""publications: the statements are in the .sql file of the same name."""

from pathlib import Path

from alembic import op

from shared.adapters.postgres.migrate import run_statements

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Run the statements of this migration."""
    run_statements(op.get_bind(), Path(__file__).with_suffix(".sql"))
