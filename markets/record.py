"""What a history says of each listing: price level, demand level, days on sale, cost."""

from __future__ import annotations

import polars as pl

from markets.history import History

# A product seen on a single day has not been shown to sell that much every day.
_SHORTEST_SPAN_DAYS = 28


def levels(history: History) -> pl.DataFrame:
    """Per listing, in order: price, units, impressions, days on sale, unit cost, margin group.

    Counts are floats, so that what is not recorded is NaN in arrays.
    """
    sales = history.sales.sort("listing_id", "price").with_columns(
        (
            pl.col("units").cum_sum().over("listing_id") * 2
            >= pl.col("units").sum().over("listing_id")
        ).alias("half_sold")
    )
    per_listing = sales.group_by("listing_id").agg(
        # The first price at which half the units are reached; where none sold, the lowest charged.
        pl.col("price").filter("half_sold").first(),
        pl.col("units").sum().cast(pl.Float64),
        # One uncounted row makes the listing's sum meaningless.
        pl.when(pl.col("impressions").null_count() == 0)
        .then(pl.col("impressions").sum().cast(pl.Float64))
        .alias("impressions"),
        ((pl.col("at").max() - pl.col("at").min()).dt.total_days() + 1).alias("days"),
    )
    record = history.listings.join(per_listing, on="listing_id", how="left", maintain_order="left")
    unsold = record.filter(pl.col("price").is_null())
    if unsold.height:
        raise ValueError(
            f"listing {unsold['listing_id'][0]!r} has no sales row, so no price level "
            f"({unsold.height} such listings)"
        )
    return record.select(
        "price",
        "units",
        pl.col("impressions").fill_null(float("nan")),
        pl.col("days").cast(pl.Float64).clip(lower_bound=_SHORTEST_SPAN_DAYS),
        pl.col("unit_cost").fill_null(float("nan")),
        pl.coalesce("category", "family_group").alias("margin_group"),
    )
