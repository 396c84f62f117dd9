"""What is bought together more often than chance would have it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.sparse import csr_array

# Listings whose partners are looked for at a time: bounds the memory of the product.
_BLOCK = 256
# Standard deviations of a Poisson count above what chance gives: 1 pair in 700 by chance alone.
_DEVIATIONS = 3.0


def bought_together(
    lines: pl.DataFrame,
    *,
    most: int = 5,
    fewest_orders: int = 5,
    least: float = 0.2,
    largest_order: int = 100,
) -> pl.DataFrame:
    """Pairs of listings that share orders more often than chance.

    With N orders, n_a and n_b of them with a listing each and n_ab with both, chance gives
    n_a n_b / N. A pair is as strong as its normalised pointwise mutual information (Bouma,
    "Normalized (pointwise) mutual information in collocation extraction", GSCL 2009)::

        npmi = log(n_ab N / (n_a n_b)) / -log(n_ab / N)      0: by chance, 1: never apart

    Args:
        lines: columns as `LINE_COLUMNS`; lines without an order are left out.
        most: partners of a listing; a pair is kept where each is among the other's strongest.
        fewest_orders: with both, below which a pair is hearsay.
        least: npmi, in [0, 1].
        largest_order: listings in an order, above which it is left out: a wholesaler's restocking
            says little of any pair and costs the square of its length.

    Returns:
        `listing_id` (the earlier in the alphabet), `partner_id`, `orders` (with both), `strength`
        (npmi), strongest first; no row where no orders are recorded.

    Raises:
        ValueError: an argument is out of its range.
    """
    for name, value, bottom in (
        ("most", most, 1),
        ("fewest_orders", fewest_orders, 1),
        ("largest_order", largest_order, 2),
    ):
        if value < bottom:
            raise ValueError(f"{name} is {value}: give {bottom} or more")
    if not 0.0 <= least <= 1.0:
        raise ValueError(f"least is {least}: give a strength between 0 and 1")
    rows = lines.select("order", "listing_id").drop_nulls().unique()
    rows = rows.filter(pl.len().over("order") <= largest_order)
    orders = rows["order"].n_unique()
    # A listing in fewer orders has no pair, and need not stand in the product.
    rows = rows.filter(pl.len().over("listing_id") >= fewest_orders)
    names = rows["listing_id"].unique().sort()
    held = _orders_by_listings(rows, names)
    found = [_candidates(*block, held, orders, fewest_orders) for block in _blocks(held)]
    pairs = pl.concat([_NO_PAIRS, *found]).filter(pl.col("strength") >= least)
    strongest = pairs.with_columns(
        pl.struct(-pl.col("strength"), "b").rank("ordinal").over("a").alias("place")
    ).filter(pl.col("place") <= most)
    mutual = strongest.join(strongest, left_on=["a", "b"], right_on=["b", "a"], how="semi")
    once = mutual.filter(pl.col("a") < pl.col("b"))
    return once.select(
        names.gather(once["a"]).alias("listing_id"),
        names.gather(once["b"]).alias("partner_id"),
        "orders",
        "strength",
    ).sort("strength", "listing_id", "partner_id", descending=[True, False, False])


_NO_PAIRS = pl.DataFrame(
    schema={"a": pl.Int64, "b": pl.Int64, "orders": pl.Int64, "strength": pl.Float64}
)


def _orders_by_listings(rows: pl.DataFrame, names: pl.Series) -> csr_array:
    """1 where an order has a listing, (orders, listings)."""
    order = rows["order"].rank("dense").to_numpy().astype(np.int64) - 1
    listing = names.search_sorted(rows["listing_id"]).to_numpy() if rows.height else order
    shape = (int(order.max(initial=-1)) + 1, len(names))
    return csr_array((np.ones(rows.height, np.int32), (order, listing)), shape=shape)


def _blocks(held: csr_array) -> Iterator[tuple[int, csr_array]]:
    """Number of the first listing of a block, and orders that it shares, (block, listings)."""
    columns = held.tocsc()
    for start in range(0, held.shape[1], _BLOCK):
        yield start, columns[:, start : start + _BLOCK].T @ held


def _candidates(
    start: int, shared: csr_array, held: csr_array, orders: int, fewest: int
) -> pl.DataFrame:
    """Pairs of a block beyond chance, each in the direction a, b."""
    table = shared.tocoo()
    often = held.sum(axis=0)
    a, b, both = table.row.astype(np.int64) + start, table.col.astype(np.int64), table.data
    chance = often[a] * (often[b] / orders)
    kept = (a != b) & (both >= fewest) & (both > chance + _DEVIATIONS * np.sqrt(chance))
    a, b, both, chance = a[kept], b[kept], both[kept], chance[kept]
    # A pair in every order is no surprise: chance has it there too, and it was left out above.
    strength = np.log(both / chance) / -np.log(both / orders)
    return pl.DataFrame(
        {"a": a, "b": b, "orders": both.astype(np.int64), "strength": strength},
        schema=_NO_PAIRS.schema,
    )
