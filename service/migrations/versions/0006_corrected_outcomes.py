"""Outcomes may be corrected: a correction is a row of its own, with the next revision."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    column = sa.Column("revision", sa.Integer(), nullable=False, server_default="0")
    with op.batch_alter_table("outcomes", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.add_column(column)
        table.drop_constraint("outcomes_once", type_="unique")
        table.create_unique_constraint("outcomes_once", ["decision_id", "outcome_id", "revision"])


def downgrade() -> None:
    op.execute("DELETE FROM outcomes WHERE revision > 0")
    with op.batch_alter_table("outcomes", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_constraint("outcomes_once", type_="unique")
        table.create_unique_constraint("outcomes_once", ["decision_id", "outcome_id"])
        table.drop_column("revision")
