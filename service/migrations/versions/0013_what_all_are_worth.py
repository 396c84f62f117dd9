"""What all listings are worth, at decisions and on days of outcomes, and elasticities."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    op.add_column("decisions", sa.Column("elasticity", sa.Double(), nullable=True))
    op.add_column("decisions", sa.Column("worth_expected", sa.Double(), nullable=True))
    op.add_column("outcomes", sa.Column("worth", sa.Double(), nullable=True))


def downgrade() -> None:
    op.drop_column("outcomes", "worth")
    op.drop_column("decisions", "worth_expected")
    op.drop_column("decisions", "elasticity")
