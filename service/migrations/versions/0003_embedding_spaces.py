"""Neighbours and features belong to an embedding space; the models that a home has had."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_LISTINGS = sa.table("listings", sa.column("row"), sa.column("neighbours"))
_DECISIONS = sa.table("decisions", sa.column("id"), sa.column("features_of"))


def upgrade() -> None:
    neighbourhoods = op.create_table(
        "neighbourhoods",
        sa.Column("space", sa.String(12), primary_key=True),
        sa.Column("listing", sa.BigInteger(), primary_key=True, autoincrement=False),
        sa.Column("nearest", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "expressions",
        sa.Column("space", sa.String(12), primary_key=True),
        sa.Column("decision_id", sa.String(36), primary_key=True),
        sa.Column("features", sa.LargeBinary(), nullable=False),
    )
    op.create_table(
        "models",
        sa.Column("version", sa.String(12), primary_key=True),
        sa.Column("adapter", sa.Text(), nullable=True),
        sa.Column("staged_at", sa.BigInteger(), nullable=False),
        sa.Column("wanted_at", sa.BigInteger(), nullable=True),
        sa.Column("activated_at", sa.BigInteger(), nullable=True),
        sa.Column("expressed_until", sa.String(36), nullable=False),
    )
    newest = sa.select(_DECISIONS.c.features_of).order_by(_DECISIONS.c.id.desc()).limit(1)
    features_of = op.get_bind().scalar(newest)
    if features_of is not None:  # before any decision, they are found anew at the next start
        space = features_of.partition("+")[0].rpartition("-")[2]
        kept = sa.select(sa.literal(space), _LISTINGS.c.row, _LISTINGS.c.neighbours)
        op.execute(neighbourhoods.insert().from_select(["space", "listing", "nearest"], kept))
    op.drop_column("listings", "neighbours")
    op.create_index("ix_listings_updated_at", "listings", ["updated_at"])


def downgrade() -> None:
    op.drop_index("ix_listings_updated_at", "listings")
    op.add_column(
        "listings",
        sa.Column("neighbours", sa.LargeBinary(), nullable=False, server_default=sa.text("''")),
    )
    for table in ("models", "expressions", "neighbourhoods"):
        op.drop_table(table)
