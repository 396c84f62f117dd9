"""Tables of the log: what was registered, decided, sold and told."""

import sqlalchemy as sa

metadata = sa.MetaData()

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

# Times are microseconds since 1970 UTC; prices are integer minor units of the listing's currency.
listings = sa.Table(
    "listings",
    metadata,
    sa.Column("row", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("listing_id", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),  # JSON as accepted
    sa.Column("anchor", sa.Double),  # log price; stays from the first sale or impressions on
    sa.Column("first_at", sa.BigInteger),  # of the first decision or sale; set with the anchor
    sa.Column("registered_at", sa.BigInteger, nullable=False),
    # or deleted; it rises with every change, whatever the clock says
    sa.Column("updated_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("deleted_at", sa.BigInteger),
    sa.Index(
        "listings_active",
        "listing_id",
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    ),
)

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("id", sa.String(36), primary_key=True),
    # the decision whose id the draw was derived from, where a family's first member drew for all
    sa.Column("drawn_with", sa.String(36)),
    sa.Column("listing", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("request_id", sa.Text),
    sa.Column("unit", sa.Text),
    sa.Column("family", sa.Text),
    sa.Column("market", sa.Text),  # JSON as accepted
    sa.Column("policy", sa.Text, nullable=False),
    sa.Column("model_version", sa.Text, nullable=False),
    sa.Column("features_of", sa.Text, nullable=False),  # version of the features below
    sa.Column("features", sa.LargeBinary, nullable=False),  # float32, of the arm drawn
    sa.Column("curve_sd", sa.Double, nullable=False),  # units per impression, before corrections
    sa.Column("currency", sa.String(3), nullable=False),
    sa.Column("unit_cost", sa.Double),
    sa.Column("price", sa.BigInteger, nullable=False),
    sa.Column("arm", sa.SmallInteger, nullable=False),
    sa.Column("propensity", sa.Double, nullable=False),
    sa.Column("ladder", sa.LargeBinary, nullable=False),  # int64 minor units
    sa.Column("expected_gains", sa.LargeBinary),  # float64; NULL in rows of earlier versions
    sa.Column("scores", sa.LargeBinary, nullable=False),  # float64
    sa.Column("propensities", sa.LargeBinary, nullable=False),  # float64
    sa.Column("units_per_impression", sa.Double, nullable=False),
    sa.Column("profit_per_impression", sa.Double, nullable=False),
    sa.Column("low", sa.Double, nullable=False),
    sa.Column("high", sa.Double, nullable=False),
    sa.Column("guardrails", sa.Text, nullable=False),  # names, separated by spaces
    sa.Column("objective", sa.Text),  # JSON, where the listing has one of its own
    sa.Column("plan", sa.Text),  # JSON, what its stock was planned over
    sa.Column("degraded", sa.Text),
    # an impression sells one unit at most; NULL in rows of earlier versions
    sa.Column("single", sa.Boolean),
    # in the sum by which its family chose; NULL in earlier versions, whose rows counted alike
    sa.Column("weight", sa.Double),
    # lowest and highest price that all limits allowed, families and steps among them; NULL in rows
    # of earlier versions, the highest in some of them too where nothing limited a price above
    sa.Column("lowest", sa.BigInteger),
    sa.Column("highest", sa.BigInteger),
    # times the usual demand expected by what passes; NULL in rows of earlier versions
    sa.Column("passing", sa.Double),
    # times the usual demand expected of the day, elasticity on a usual day, and log of what all
    # listings were expected to be worth over the usual; NULL in rows of earlier versions
    sa.Column("day_expected", sa.Double),
    sa.Column("elasticity", sa.Double),
    sa.Column("worth_expected", sa.Double),
    sa.Column("category", sa.Text),  # that its listing was of; NULL in rows of earlier versions
    sa.Column("experiment", sa.Text),  # name of the one that it took part in
)

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("share", sa.Double, nullable=False),  # of the units that the policy prices
    sa.Column("period", sa.String(8), nullable=False),
    sa.Column("first_day", sa.String(10), nullable=False),  # ISO, UTC
    sa.Column("last_day", sa.String(10)),  # included; NULL: until it is stopped
    sa.Column("started_at", sa.BigInteger, nullable=False),
    sa.Column("stopped_at", sa.BigInteger),
)

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("decision_id", sa.String(36), nullable=False),
    sa.Column("outcome_id", sa.Text, nullable=False),
    # 0: as told first; each correction is a row of its own, which says by how much more or less
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),
    sa.Column("impressions", sa.BigInteger, nullable=False),
    sa.Column("units", sa.BigInteger, nullable=False),
    sa.Column("returned_units", sa.BigInteger, nullable=False),
    sa.Column("occurred_at", sa.BigInteger, nullable=False),
    sa.Column("received_at", sa.BigInteger, nullable=False),
    # what its day was, times the usual demand, and log of what all listings were worth then over
    # the usual; NULL in rows of earlier versions
    sa.Column("day_effect", sa.Double),
    sa.Column("worth", sa.Double),
    sa.UniqueConstraint("decision_id", "outcome_id", "revision", name="outcomes_once"),
    sqlite_autoincrement=True,
)

# What depends on the encoder; a space is named by 12 digits of its encoder's fingerprint.
neighbourhoods = sa.Table(
    "neighbourhoods",
    metadata,
    sa.Column("space", sa.String(12), primary_key=True),
    sa.Column("listing", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("nearest", sa.LargeBinary, nullable=False),  # int64 rows, then float64 cosines
)

expressions = sa.Table(
    "expressions",
    metadata,
    sa.Column("space", sa.String(12), primary_key=True),
    sa.Column("decision_id", sa.String(36), primary_key=True),
    sa.Column("features", sa.LargeBinary, nullable=False),  # as decisions have them
)

models = sa.Table(
    "models",
    metadata,
    sa.Column("version", sa.String(12), primary_key=True),
    sa.Column("adapter", sa.Text),  # its folder's name in the home; none for the base model alone
    sa.Column("staged_at", sa.BigInteger, nullable=False),
    sa.Column("wanted_at", sa.BigInteger),
    sa.Column("activated_at", sa.BigInteger),
    sa.Column("expressed_until", sa.String(36), nullable=False),  # id of a decision
)

unmatched = sa.Table(
    "unmatched_outcomes",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("document", sa.Text, nullable=False),  # JSON as received
    sa.Column("received_at", sa.BigInteger, nullable=False),
    sqlite_autoincrement=True,
)

sales = sa.Table(
    "sales",
    metadata,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True),
    sa.Column("sale_id", sa.String(64), nullable=False, unique=True),
    sa.Column("listing", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
    sa.Column("price", sa.BigInteger, nullable=False),
    sa.Column("units", sa.BigInteger, nullable=False),
    sa.Column("impressions", sa.BigInteger),
    # seq of the sale that this row takes back: neither of the two counts
    sa.Column("takes_back", sa.BigInteger),
    sa.Index("sales_taken_back", "takes_back"),
    sqlite_autoincrement=True,
)

answers = sa.Table(
    "answers",
    metadata,
    sa.Column("caller", sa.String(64), primary_key=True),
    sa.Column("key", sa.String(256), primary_key=True),
    sa.Column("request_hash", sa.String(64), nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False, index=True),
)


def told_by_decision(since: str = "") -> sa.Subquery:
    """Sums of outcomes by decision: decision_id, impressions, units, returned.

    Args:
        since: the lowest id of the decisions asked about.
    """
    told = outcomes.c
    return (
        sa.select(
            told.decision_id,
            sa.func.sum(told.impressions).label("impressions"),
            sa.func.sum(told.units).label("units"),
            sa.func.sum(told.returned_units).label("returned"),
        )
        .where(told.decision_id >= since)
        .group_by(told.decision_id)
        .subquery()
    )
