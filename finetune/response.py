"""How a product's buyers answered to price, where sales say how often it was shown at which."""

from __future__ import annotations

import polars as pl

_LEAST = 1e-9


def price_responses(sales: pl.DataFrame) -> pl.DataFrame:
    """Elasticity of each listing's demand, and its variance.

    With units u of n impressions at log prices x, m = Σu / Σn and x̄ the mean of x weighted by n::

        e = -Σ u (x - x̄) / (m S),    S = Σ n (x - x̄)²

    solves the score equation of a Poisson model log-linear in price to first order around e = 0
    (McCullagh and Nelder 1989, ch. 2.5, one step of Fisher scoring); its variance is 1 / (m S).
    Steep demand over a wide range of prices is understated: it is a target to learn, not a price
    to charge.

    Args:
        sales: `listing_id`, `price`, `units`, `impressions`; rows without impressions say nothing.

    Returns:
        `listing_id`, `response`, `response_variance`, for listings sold at two prices or more.
    """
    shown = sales.filter(pl.col("impressions") > 0).select(
        "listing_id",
        pl.col("units").cast(pl.Float64),
        pl.col("impressions").cast(pl.Float64).alias("n"),
        pl.col("price").log().alias("x"),
    )
    mean = (pl.col("n") * pl.col("x")).sum() / pl.col("n").sum()
    shown = shown.with_columns((pl.col("x") - mean.over("listing_id")).alias("x"))
    sums = shown.group_by("listing_id", maintain_order=True).agg(
        (pl.col("units") * pl.col("x")).sum().alias("lean"),
        (pl.col("n") * pl.col("x") ** 2).sum().alias("spread"),
        (pl.col("units").sum() / pl.col("n").sum()).alias("rate"),
    )
    told = sums.filter((pl.col("spread") > _LEAST) & (pl.col("rate") > 0)).with_columns(
        (pl.col("rate") * pl.col("spread")).alias("precision")
    )
    return told.select(
        "listing_id",
        (-pl.col("lean") / pl.col("precision")).alias("response"),
        (1 / pl.col("precision")).alias("response_variance"),
    )
