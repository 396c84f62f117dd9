"""A/B tests: what was started, and which test a decision was made in."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "experiments",
        sa.Column("name", sa.Text(), primary_key=True),
        sa.Column("share", sa.Double(), nullable=False),
        sa.Column("period", sa.String(8), nullable=False),
        sa.Column("first_day", sa.String(10), nullable=False),
        sa.Column("last_day", sa.String(10), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("stopped_at", sa.BigInteger(), nullable=True),
    )
    op.add_column("decisions", sa.Column("experiment", sa.Text(), nullable=True))


def downgrade() -> None:
    # without the column a test's own prices would pass for the policy's
    op.drop_column("decisions", "experiment")
    op.drop_table("experiments")
