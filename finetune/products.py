"""What a sales history, a table of sales or a price list teaches of products: texts and targets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from encoders import listing_texts
from finetune.response import price_responses
from markets import (
    SHEET,
    History,
    PriceList,
    TableError,
    bought_together,
    is_online_retail,
    is_sales_table,
    price_list,
    read_table,
    retail_lines,
    sales_lines,
)

NAMES = ("log price", "log demand", "log units per order", "price response")
"""Columns of the targets."""

ROUNDING = 1e-9
"""Targets that differ by no more are the same."""

KNOWN_LINES = 5
"""Sales lines from which on a product's demand is taken as known."""

# Sales lines at which a mean over them is believed half. Measured on Online Retail, unseen groups:
# R² of log price 0.527 where products of fewer than five lines count in full, 0.529 so weighted.
_HALF_LINES = 5.0
# Variance of elasticities among products: a response measured less surely counts less than half.
_RESPONSE_VARIANCE = 0.7
_SURE = 1.0 - 1e-6  # weight of what is known for certain, whose odds would be infinite
_FIELDS = ("title", "brand", "category", "description")


@dataclass(frozen=True, slots=True, eq=False)
class Products:
    """What is known of n products, with t targets to learn from their texts.

    Attributes:
        listing_id: n ids, unique.
        text: n canonical texts, as `encoders.listing_texts` writes them.
        group: object (n,): variants of one product share it, and must never be split.
        names: of the t targets, as `NAMES`.
        target: (n, t), NaN where unknown. Log price and log units per order are means over sales
            lines; log demand is the log of the lines, of five at least; price response is the
            elasticity where impressions at several prices are recorded.
        weight: (n, t) in [0, 1]: how far a target is to be believed, 0 where it is unknown.
        together: int64 (p, 2): rows bought together more often than chance.
        median_log_price: (n,): log of the median price over sales lines, for probes.
        lines: (n,): sales lines, NaN where nobody counted.
        notes: what a reader of their source should know, as `markets.History` has them.
    """

    listing_id: list[str]
    text: list[str]
    group: NDArray[np.object_]
    names: tuple[str, ...]
    target: NDArray[np.float64]
    weight: NDArray[np.float64]
    together: NDArray[np.int64]
    median_log_price: NDArray[np.float64]
    lines: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.text)

    def variants(self) -> NDArray[np.int64]:
        """Products that share a group or a text, capitals aside, share a number, int64 (n,): what
        is learned of one must not be asked of another. Numbers are in the order of groups' names.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        groups = np.unique(self.group.astype(str), return_inverse=True)[1]
        texts = np.unique([t.casefold() for t in self.text], return_inverse=True)[1]
        size = int(groups.max(initial=-1)) + 1, int(texts.max(initial=-1)) + 1
        # groups and texts are the nodes, and each product joins one of both
        joined = coo_array((np.ones(len(self)), (groups, size[0] + texts)), (sum(size),) * 2)
        return np.asarray(connected_components(joined, directed=False)[1][groups], np.int64)

    def take(self, rows: ArrayLike) -> Products:
        """The products of some rows, in that order.

        Args:
            rows: indices, int (m,), each at most once, or a mask, bool (n,).

        Returns:
            `together` speaks of the new rows; pairs with a product left out are left out.

        Raises:
            ValueError: an index twice or out of range, or a mask of another length.
        """
        chosen = _indices(rows, len(self))
        place = np.full(len(self), -1)
        place[chosen] = np.arange(len(chosen))
        pairs = place[self.together]  # (p, 2)
        return Products(
            [self.listing_id[i] for i in chosen],
            [self.text[i] for i in chosen],
            self.group[chosen],
            self.names,
            self.target[chosen],
            self.weight[chosen],
            pairs[(pairs >= 0).all(axis=1)],
            self.median_log_price[chosen],
            self.lines[chosen],
            self.notes,
        )

    def distinct(self) -> Products:
        """One product for each text in a group: what is sold under one text is learned once.

        Targets are means weighted by how surely each is known. A weight of n / (n + c) for n
        observations has odds of n / c, so that odds add up where observations do.
        """
        numbers: dict[tuple[str, str], int] = {}
        keys = zip(self.text, map(str, self.group), strict=True)
        number = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
        rows = np.unique(number, return_index=True)[1]
        if len(rows) == len(self):
            return self
        weight = np.minimum(self.weight, _SURE)
        odds = weight / (1.0 - weight)  # (n, t)

        def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
            total = np.zeros((len(rows), *values.shape[1:]))
            np.add.at(total, number, values)
            return total

        total = summed(odds)
        with np.errstate(invalid="ignore"):
            target = summed(odds * np.nan_to_num(self.target)) / total  # NaN where none is known
        pairs = np.unique(np.sort(number[self.together], axis=1), axis=0)
        lines = np.maximum(np.nan_to_num(self.lines), 1.0)
        return replace(
            self.take(rows),
            target=target,
            weight=total / (1.0 + total),
            together=pairs[pairs[:, 0] < pairs[:, 1]],
            median_log_price=summed(lines * self.median_log_price) / summed(lines),
            lines=summed(self.lines),
        )


def read_products(path: str | Path, currency: str | None = None) -> Products:
    """Products of a file: Online Retail's columns, a table of sales, or a price list.

    Args:
        path: a table as `markets.read_table` takes it. What it is, its columns say: all of Online
            Retail's; else a time, a price and units make a table of sales, as
            `markets.read_sales_table` takes it; else a price list, as `markets.read_price_list`.
        currency: as those loaders take it; Online Retail is in GBP whatever it says.

    Raises:
        TableError: what the loaders raise, or nothing was sold; the message names column, row and
            fix.
    """
    table, source = read_table(path, sheets=True), Path(path).name
    if is_online_retail(table):
        return products_of(*retail_lines(table, source))
    table = table.drop(SHEET, strict=False)
    if not is_sales_table(table):
        return products_listed(price_list(table, source, currency=currency))
    history, lines = sales_lines(table, source, currency=currency)
    if lines.is_empty():
        raise TableError(f"{source}: no row has units above 0: give rows in which something sold")
    return products_of(history, lines)


def products_of(history: History, lines: pl.DataFrame | None = None) -> Products:
    """Products of recorded sales; listings that never sold say nothing and are left out.

    Args:
        history: listings, and their sales where `lines` are not given.
        lines: sales lines, columns as `markets.LINE_COLUMNS`. None: each row of the history's
            sales with units counts as one, and nothing is known of what is bought together.
    """
    if lines is None:
        lines = history.sales.filter(pl.col("units") > 0).with_columns(
            pl.lit(None, pl.String).alias("order")
        )
    sold = history.listings.join(
        lines.group_by("listing_id").agg(
            pl.col("price").log().mean().alias("log_price"),
            pl.col("price").median().log().alias("median_log_price"),
            pl.col("units").log().mean().alias("log_units"),
            pl.len().cast(pl.Float64).alias("lines"),
        ),
        on="listing_id",
        maintain_order="left",
    ).join(price_responses(history.sales), on="listing_id", how="left", maintain_order="left")
    found = _products(sold, [{}] * sold.height, sold["lines"], bought_together(lines))
    return replace(found, notes=history.notes)


def products_listed(listed: PriceList) -> Products:
    """Products of a price list, with the demand that it states.

    Log demand is that of lines, else of units. Prices count in full where lines are not stated.
    """
    units = pl.col("units") / pl.col("lines")
    stated = listed.products.with_columns(
        pl.col("price").log().alias("log_price"),
        pl.col("price").log().alias("median_log_price"),
        pl.when((pl.col("lines") > 0) & (units > 0)).then(units.log()).alias("log_units"),
        pl.lit(None, pl.Float64).alias("response"),
        pl.lit(None, pl.Float64).alias("response_variance"),
    )
    counts = stated.select(pl.coalesce("lines", "units"))[:, 0]
    found = _products(stated, listed.attributes, counts, bought_together(_NO_LINES))
    return replace(found, notes=listed.notes)


_NO_LINES = pl.DataFrame(schema={"order": pl.String, "listing_id": pl.String})


def _products(
    rows: pl.DataFrame, attributes: list[dict[str, str]], counts: pl.Series, pairs: pl.DataFrame
) -> Products:
    """From rows in their order, what demand is counted in, and pairs of `bought_together`."""
    lines = _floats(rows["lines"])
    demand = _floats(counts)
    known = demand >= KNOWN_LINES
    target = np.stack(
        [
            _floats(rows["log_price"]),
            np.log(np.where(known, demand, np.nan)),
            _floats(rows["log_units"]),
            _floats(rows["response"]),
        ],
        axis=1,
    )  # (n, 4)
    # A stated price is worth a line at least, and everything where nobody counts lines.
    seen = np.maximum(lines, 1.0)
    belief = np.where(np.isnan(lines), 1.0, seen / (seen + _HALF_LINES))
    sure = _RESPONSE_VARIANCE / (_RESPONSE_VARIANCE + _floats(rows["response_variance"]))
    weight = np.stack([belief, np.ones(rows.height), belief, sure], axis=1)
    texts = {name: rows[name].to_list() for name in _FIELDS}
    return Products(
        rows["listing_id"].to_list(),
        listing_texts(**texts, attributes=attributes),
        np.asarray(rows["family_group"].to_list(), np.object_),
        NAMES,
        target,
        np.where(np.isnan(target), 0.0, weight),
        _rows_of(pairs, rows["listing_id"]),
        _floats(rows["median_log_price"]),
        lines,
    )


def _rows_of(pairs: pl.DataFrame, ids: pl.Series) -> NDArray[np.int64]:
    """Pairs of ids as pairs of rows, int64 (p, 2)."""
    place = ids.to_frame("listing_id").with_row_index("row")
    both = pairs.join(place, on="listing_id", maintain_order="left").join(
        place, left_on="partner_id", right_on="listing_id", suffix="_b", maintain_order="left"
    )
    return both.select("row", "row_b").cast(pl.Int64).to_numpy().reshape(-1, 2)


def _indices(rows: ArrayLike, n: int) -> NDArray[np.int64]:
    given = np.asarray(rows)
    if given.dtype == np.bool_:
        if given.shape != (n,):
            raise ValueError(f"rows is a mask of shape {given.shape}: give one of ({n},)")
        return np.flatnonzero(given)
    chosen = given.astype(np.int64).reshape(-1)
    if len(chosen) and not (chosen.min() >= 0 and chosen.max() < n):
        raise ValueError(f"rows has {chosen.min()} to {chosen.max()}: give 0 to {n - 1}")
    if len(np.unique(chosen)) < len(chosen):
        raise ValueError("rows names a product twice: give each at most once")
    return chosen


def _floats(column: pl.Series) -> NDArray[np.float64]:
    """Nulls as NaN."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
