"""A made-up shop: listings with texts, and ninety days of sales to made-up buyers."""

from __future__ import annotations

from importlib import resources

import polars as pl

from markets.history import LISTING_COLUMNS, SALES_COLUMNS, History

# The buyers who made the record. Drawn again from the loaded catalogue with this seed they keep
# their elasticities and families, so that a simulation can go on where the record ends: its days
# are 0 to RECORD_DAYS - 1.
RECORD_SEED = 20_250_901
RECORD_DAYS = 90


def load_catalogue() -> History:
    """Load the catalogue shipped with the package: 519 listings in 15 categories, in GBP.

    Everything in it is invented; `markets/catalogue/README.md` says how. Every listing has a
    description, category, brand and unit cost; `sales` has a row per listing and day, with
    impressions, and none was dropped.
    """
    listings = pl.read_csv(_read("listings.csv"), schema_overrides=LISTING_COLUMNS)
    sales = pl.read_csv(_read("sales.csv")).with_columns(
        pl.col("day").str.to_datetime("%Y-%m-%d", time_unit="us", time_zone="UTC").alias("at")
    )
    return History(
        listings.select(LISTING_COLUMNS.names()), sales.select(SALES_COLUMNS.names()), {}
    )


def _read(name: str) -> bytes:
    return resources.files(__name__).joinpath(name).read_bytes()
