"""What each price was expected to earn, apart from what it would teach."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    # rows that are there hold both in one number, which cannot be taken apart any more
    op.add_column("decisions", sa.Column("expected_gains", sa.LargeBinary(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "expected_gains")
