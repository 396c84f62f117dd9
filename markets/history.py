"""Recorded sales, cleaned: what every loader gives and every simulated market starts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

LISTING_COLUMNS = pl.Schema(
    {
        "listing_id": pl.String(),
        "title": pl.String(),
        "description": pl.String(),
        "category": pl.String(),
        "brand": pl.String(),
        "family_group": pl.String(),
        "currency": pl.String(),
        "unit_cost": pl.Float64(),
    }
)
SALES_COLUMNS = pl.Schema(
    {
        "listing_id": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "price": pl.Float64(),
        "units": pl.Int64(),
        "impressions": pl.Int64(),
    }
)
# Columns of `sales` after those, each only where the source records it; cells may be null.
SALES_EXTRAS = pl.Schema(
    {
        "unit_cost": pl.Float64(),
        "promotion": pl.Boolean(),
        "channel": pl.String(),
    }
)
# A table of sales lines: what invoices or receipts say, before days are summed. `order` names the
# invoice and is null where nobody wrote it down.
LINE_COLUMNS = pl.Schema(
    {
        "listing_id": pl.String(),
        "order": pl.String(),
        "price": pl.Float64(),
        "units": pl.Float64(),
    }
)
_MAY_BE_NULL = {"description", "category", "brand", "unit_cost", "impressions"}


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What was on sale and what sold, with a count of what was thrown away.

    Args:
        listings: one row per listing, columns as `LISTING_COLUMNS`: `listing_id` (unique), `title`,
            `description` or null, `category` or null, `brand` or null, `family_group` (the key to
            split by: variants of one product share it), `currency` (ISO 4217), `unit_cost`
            (currency units) or null.
        sales: one row per listing, period and price, columns as `SALES_COLUMNS`: `listing_id`,
            `at` (UTC, start of the period), `price` (currency units per unit), `units`,
            `impressions` (times shown in that period) or null where nobody counted. After them
            those of `SALES_EXTRAS` that are recorded: `unit_cost` (currency units, in that
            period), `promotion` (sold at a special offer), `channel` (shop, price list).
        dropped: reason in plain words -> rows of the source dropped for it.
        notes: a sentence for each thing a reader of the source should know: for each reason that
            occurred the rows, the first one's number and cell, and the fix; rows added up.

    Raises:
        ValueError: a column is missing, of another type or null where it may not be; an id occurs
            twice; a sale names an unknown listing.
    """

    listings: pl.DataFrame
    sales: pl.DataFrame
    dropped: dict[str, int]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_columns("listings", self.listings, LISTING_COLUMNS)
        extras = {name: kind for name, kind in SALES_EXTRAS.items() if name in self.sales.columns}
        _check_columns("sales", self.sales, pl.Schema({**SALES_COLUMNS, **extras}))
        twice = self.listings.filter(pl.col("listing_id").is_duplicated())
        if twice.height:
            raise ValueError(f"listings: listing_id {twice['listing_id'][0]!r} occurs twice")
        strangers = self.sales.join(self.listings, on="listing_id", how="anti")
        if strangers.height:
            raise ValueError(
                f"sales: listing_id {strangers['listing_id'][0]!r} is not among the listings "
                f"({strangers.height} such rows)"
            )

    def split(self, share: float, seed: int) -> tuple[History, History]:
        """Split by `family_group`, so that no family has listings on both sides.

        Args:
            share: share of the families that goes to the first part, in (0, 1).
            seed: the same seed and the same families give the same parts.

        Returns:
            Two histories, rows in their old order. `dropped` and `notes` belong to the source as
            a whole and are repeated in both.

        Raises:
            ValueError: `share` is not in (0, 1), or there are fewer than two families.
        """
        if not 0.0 < share < 1.0:
            raise ValueError(f"share must lie between 0 and 1, not {share}")
        families = self.listings["family_group"].unique().sort()
        if families.len() < 2:
            raise ValueError(
                f"cannot split {families.len()} families in two: give sales of products of two at "
                "least, one to be known and one to be new"
            )
        order = np.random.default_rng(seed).permutation(families.len())
        count = min(max(round(share * families.len()), 1), families.len() - 1)
        in_first = pl.col("family_group").is_in(families.gather(order[:count]).implode())
        return self._part(in_first), self._part(~in_first)

    def _part(self, chosen: pl.Expr) -> History:
        listings = self.listings.filter(chosen)
        sales = self.sales.join(listings, on="listing_id", how="semi", maintain_order="left")
        return History(listings, sales, dict(self.dropped), self.notes)


def _check_columns(name: str, frame: pl.DataFrame, expected: pl.Schema) -> None:
    if frame.schema != expected:
        raise ValueError(f"{name}: expected columns {dict(expected)}, found {dict(frame.schema)}")
    for column in expected.keys() - _MAY_BE_NULL - SALES_EXTRAS.keys():
        if frame[column].null_count():
            raise ValueError(f"{name}: column {column!r} holds nulls")
