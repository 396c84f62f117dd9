"""By what factor promotions and market texts were expected to change a decision's demand."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("passing", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "passing")
