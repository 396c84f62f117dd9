"""Recorded sales may be taken back: a row of its own says which one no longer counts."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.add_column("sales", sa.Column("takes_back", sa.BigInteger(), nullable=True))
    op.create_index("sales_taken_back", "sales", ["takes_back"])


def downgrade() -> None:
    # an earlier version knows of no sale that does not count
    op.execute("DELETE FROM sales WHERE seq IN (SELECT takes_back FROM sales)")
    op.execute("DELETE FROM sales WHERE takes_back IS NOT NULL")
    op.drop_index("sales_taken_back", "sales")
    op.drop_column("sales", "takes_back")
