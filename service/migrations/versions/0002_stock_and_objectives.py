"""What stock was planned over and what a sale was worth; since when a listing has been offered."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("listings", sa.Column("first_at", sa.BigInteger(), nullable=True))
    # the nearest that earlier logs have to it
    op.execute("UPDATE listings SET first_at = registered_at WHERE anchor IS NOT NULL")
    op.add_column("decisions", sa.Column("objective", sa.Text(), nullable=True))
    op.add_column("decisions", sa.Column("plan", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "plan")
    op.drop_column("decisions", "objective")
    op.drop_column("listings", "first_at")
