"""The range that all limits left to a price when it was decided."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    for name in ("lowest", "highest"):
        op.add_column("decisions", sa.Column(name, sa.BigInteger(), nullable=True))


def downgrade() -> None:
    for name in ("highest", "lowest"):
        op.drop_column("decisions", name)
