"""Categories that decisions were of, whose days are told by their other listings."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("category", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "category")
