"""What days were expected to be to all listings at decisions, and what they were at outcomes."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("day_expected", sa.Double(), nullable=True))
    op.add_column("outcomes", sa.Column("day_effect", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("outcomes", "day_effect")
    op.drop_column("decisions", "day_expected")
