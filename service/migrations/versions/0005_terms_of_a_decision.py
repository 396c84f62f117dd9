"""Terms that a price was decided under: whether an impression sold one unit at most, and what the
listing counted in its family.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("single", sa.Boolean(), nullable=True))
    op.add_column("decisions", sa.Column("weight", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("decisions", "weight")
    op.drop_column("decisions", "single")
