"""Write `sales.csv` from `listings.csv`: `python -m markets.catalogue.make`.

The same buyers as in every simulated market (`markets.buyers`) meet prices that move a little from
week to week. Only seeded draws, integer prices and counts go into the file, so that it comes out
the same byte for byte.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from markets.buyers import Buyers
from markets.catalogue import RECORD_DAYS, RECORD_SEED
from markets.history import LISTING_COLUMNS, SALES_COLUMNS, History

FIRST_DAY = np.datetime64("2025-09-01")
# Per cent of the list price, and how often each is chosen when a price changes.
LEVELS = np.array([90, 95, 100, 105, 110])
LEVEL_SHARES = (0.15, 0.2, 0.3, 0.2, 0.15)
CHANGES_PER_WEEK = 0.4


def make_sales() -> bytes:
    """The content of `sales.csv`: listing_id, day, price (GBP), units, impressions."""
    source = resources.files("markets.catalogue").joinpath("listings.csv").read_bytes()
    listings = pl.read_csv(source, schema_overrides=LISTING_COLUMNS)
    buyers = _buyers(listings)
    prices = _prices_minor(listings) / 100.0  # (days, n)
    impressions = np.stack([buyers.impressions(day) for day in range(RECORD_DAYS)])  # (days, n)
    units = np.stack(
        [buyers.sell(day, prices[day], impressions[day]) for day in range(RECORD_DAYS)]
    )
    days = FIRST_DAY + np.arange(RECORD_DAYS)  # datetime64[D]
    table = pl.DataFrame(
        {
            "listing_id": np.repeat(listings["listing_id"].to_numpy(), RECORD_DAYS),
            "day": np.tile(days, listings.height),
            "price": prices.T.ravel(),
            "units": units.T.ravel(),
            "impressions": impressions.T.ravel(),
        }
    )
    file = BytesIO()
    table.write_csv(file, float_precision=2, line_terminator="\n")
    return file.getvalue()


def _buyers(listings: pl.DataFrame) -> Buyers:
    """Buyers around the list prices, with the demand levels that `listings.csv` states."""
    at_list_price = listings.select(
        "listing_id",
        pl.lit(FIRST_DAY).cast(SALES_COLUMNS["at"]).alias("at"),
        pl.col("list_price").alias("price"),
        pl.lit(1, pl.Int64).alias("units"),
        pl.lit(None, pl.Int64).alias("impressions"),
    )
    history = History(listings.select(LISTING_COLUMNS.names()), at_list_price, {})
    views = listings["impressions_per_day"].cast(pl.Float64).to_numpy()
    return replace(Buyers.from_history(history, RECORD_SEED), mean_impressions=views)


def _prices_minor(listings: pl.DataFrame) -> npt.NDArray[np.int64]:
    """Prices charged, in pence (days, n): the list price, or a level of it to the next 5 pence."""
    list_price = (listings["list_price"] * 100).round().cast(pl.Int64).to_numpy()  # (n,)
    stream = np.random.default_rng(RECORD_SEED)
    weeks = -(-RECORD_DAYS // 7)
    drawn = stream.choice(LEVELS, size=(weeks, listings.height), p=LEVEL_SHARES)
    changed = stream.random(drawn.shape) < CHANGES_PER_WEEK
    drawn[0], changed[0] = 100, True
    # A week without a change keeps the level of the last week that had one.
    last = np.maximum.accumulate(np.where(changed, np.arange(weeks)[:, None], 0), axis=0)
    level = np.take_along_axis(drawn, last, axis=0)  # (weeks, n)
    moved = (list_price * level + 250) // 500 * 5
    charged = np.where(level == 100, list_price, moved)
    return np.repeat(charged, 7, axis=0)[:RECORD_DAYS]


if __name__ == "__main__":
    (Path(__file__).parent / "sales.csv").write_bytes(make_sales())
