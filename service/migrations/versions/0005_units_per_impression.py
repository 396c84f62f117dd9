"""Whether an impression sold one unit at most by the terms that a price was decided under."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("single", sa.Boolean(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "single")
