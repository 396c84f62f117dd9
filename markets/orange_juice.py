"""Dominick's orange juice (CRAN `bayesm`): weekly prices, promotions, costs, and how demand moved.

Montgomery, "Creating micro-marketing pricing strategies using supermarket scanner data", Marketing
Science 16(4), 1997, describes the data: 11 brands in 83 stores of one chain in Chicago.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from markets.checks import Rule, number_fix, sift, to_numbers
from markets.tables import find_columns, read_table

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BRANDS = (
    "Tropicana Premium 64 oz",
    "Tropicana Premium 96 oz",
    "Florida's Natural 64 oz",
    "Tropicana 64 oz",
    "Minute Maid 64 oz",
    "Minute Maid 96 oz",
    "Citrus Hill 64 oz",
    "Tree Fresh 64 oz",
    "Florida Gold 64 oz",
    "Dominick's 64 oz",
    "Dominick's 128 oz",
)
# What the file counts and prices are ounces: exp(logmove) is a whole number of these packages.
_OUNCES = np.array([int(name.split()[-2]) for name in BRANDS], np.float64)
_PRICES = tuple(f"price{brand}" for brand in range(1, len(BRANDS) + 1))
_KEY = ("store", "brand", "week")
_COLUMNS = (*_KEY, "logmove", *_PRICES, "deal", "feat", "profit")
# Fewer weeks of a brand in a store than this say nothing about five coefficients.
_FEWEST_WEEKS = 20


@dataclass(frozen=True, slots=True, eq=False)
class OrangeJuice:
    """Sales of 11 brands by store and week, sorted by those; a unit is a package as in `BRANDS`.

    Attributes:
        store: int64 (m,), the chain's number.
        brand: int64 (m,), index into `BRANDS`, from 0 (the file's number less 1).
        week: int64 (m,), the chain's number.
        units: float64 (m,), packages sold, whole but for the rounding of the file's logarithms.
        price: float64 (m,), USD per package, of this brand in this store and week.
        prices: float64 (m, 11), USD per package of every brand there and then, its own included.
        deal: bool (m,), coupon or in-store offer.
        feature: float64 (m,), share of the brand's varieties that were advertised, in [0, 1].
        unit_cost: float64 (m,), USD per package: price x (1 - gross margin).
        dropped: reason in plain words -> rows of the file.
        notes: for each reason that occurred, a sentence with row, cell and fix.
    """

    store: Ints
    brand: Ints
    week: Ints
    units: Floats
    price: Floats
    prices: Floats
    deal: npt.NDArray[np.bool_]
    feature: Floats
    unit_cost: Floats
    dropped: dict[str, int]
    notes: tuple[str, ...]


def read_orange_juice(path: str | Path, *, tolerance: float = 0.02) -> OrangeJuice:
    """Read the table `orangeJuice$yx` of CRAN's `bayesm`, as `.csv` or any other kind of table.

    Args:
        path: columns store, brand (1 to 11), week, logmove (log of ounces sold), price1 to price11
            (USD per ounce), deal (0 or 1), feat (0 to 1), profit (gross margin, per cent); others
            are ignored.
        tolerance: share of rows that may be junk, the second of two rows with one store, brand and
            week among them; they are dropped and reported.

    Raises:
        TableError: a missing column, or more junk than tolerated; the message names column, row
            (from 1 below the header), cell and fix.
    """
    path = Path(path)
    table = read_table(path)
    called = find_columns(table, dict.fromkeys(_COLUMNS, ()), path.name)
    raw = table.select(pl.col(theirs).alias(ours) for ours, theirs in called.items())
    read = pl.DataFrame({name: to_numbers(raw[name]) for name in _COLUMNS})
    sifted = sift(raw, read, _rules(), path.name, tolerance, called)
    rows = sifted.rows.sort(_KEY)
    columns = {name: rows[name].to_numpy() for name in rows.columns}
    store, brand, week = (columns[name].astype(np.int64) for name in _KEY)
    prices = rows.select(_PRICES).to_numpy() * _OUNCES  # (m, 11)
    brand -= 1
    price = prices[np.arange(len(brand)), brand]
    return OrangeJuice(
        store=store,
        brand=brand,
        week=week,
        units=np.exp(columns["logmove"]) / _OUNCES[brand],
        price=price,
        prices=prices,
        deal=columns["deal"] == 1,
        feature=columns["feat"],
        unit_cost=price * (1.0 - columns["profit"] / 100.0),
        dropped=sifted.dropped,
        notes=sifted.notes,
    )


def _rules() -> list[Rule]:
    known = pl.col("brand").is_between(1, len(BRANDS)) & (pl.col("brand") % 1 == 0)
    rules = [
        Rule(f"{name} cannot be read", name, pl.col(name).is_null(), number_fix)
        for name in _COLUMNS
    ]
    rules += [
        Rule(f"{name} is not whole", name, pl.col(name) % 1 != 0, "give the chain's number")
        for name in ("store", "week")
    ]
    rules += [
        Rule(f"{name} is not above zero", name, pl.col(name) <= 0, "give USD per ounce")
        for name in _PRICES
    ]
    # exp(25) ounces a week are more than a billion packages.
    too_many, advice = pl.col("logmove").abs() > 25, "give the natural logarithm of ounces sold"
    again = ~pl.struct(_KEY).is_first_distinct()
    return [
        *rules,
        Rule("brand is not 1 to 11", "brand", ~known, "give the brand's number as bayesm does"),
        Rule("logmove is no logarithm of sales", "logmove", too_many, advice),
        Rule("deal is not 0 or 1", "deal", ~pl.col("deal").is_in([0.0, 1.0]), "write 0 or 1"),
        Rule("feat is not 0 to 1", "feat", ~pl.col("feat").is_between(0, 1), "give a share"),
        Rule(
            "profit is not below 100", "profit", pl.col("profit") >= 100, "give per cent of price"
        ),
        Rule(
            "store, brand and week occur twice", "week", again, "leave the right one of the rows in"
        ),
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Elasticities:
    """Own-price elasticities of demand.

    Attributes:
        store: int64 (s,), ascending.
        by_brand: float64 (s, 11); NaN where a brand has too few weeks or one price only.
        by_store: float64 (s,), mean over the store's brands; NaN where it has none.
        standard_error: float64 (s,), of `by_store`; ordinary least squares, so weeks count as
            independent.
    """

    store: Ints
    by_brand: Floats
    by_store: Floats
    standard_error: Floats


def elasticities(data: OrangeJuice, *, promotions: bool = True) -> Elasticities:
    """Estimate own-price elasticity by store, one regression for each brand in each store.

    log units = level + elasticity log price + a deal + b feature + noise, over weeks; without
    `promotions` level and price alone, and the price takes the credit for the advertising.

    Prices of other brands are left out: they move together with a brand's own, so this is the
    response to the price as it was changed. With all eleven prices it is further from zero.
    """
    stores, store = np.unique(data.store, return_inverse=True)
    n_brands = len(BRANDS)
    by_brand = np.full((stores.size, n_brands), np.nan)
    variance = np.full((stores.size, n_brands), np.nan)
    promotion = np.column_stack([data.deal, data.feature]).astype(np.float64)  # (m, 2)
    group = store * n_brands + data.brand
    order = np.argsort(group, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        if rows.size < _FEWEST_WEEKS:
            continue
        controls = promotion[rows] if promotions else promotion[rows, :0]
        cell = store[rows[0]], data.brand[rows[0]]
        by_brand[cell], variance[cell] = _slope(
            np.log(data.price[rows]), controls, np.log(data.units[rows])
        )
    counts = np.isfinite(by_brand).sum(axis=1)  # (s,)
    with np.errstate(invalid="ignore"):
        by_store = np.nansum(by_brand, axis=1) / counts
        error = np.sqrt(np.nansum(variance, axis=1)) / counts
    return Elasticities(stores, by_brand, by_store, error)


def _slope(x: Floats, controls: Floats, y: Floats) -> tuple[float, float]:
    """Least-squares coefficient of x, (w,), beside an intercept and controls, and its variance.

    By Frisch and Waugh: both sides less what the others explain. NaN where nothing of x is left.
    """
    others = np.column_stack([np.ones_like(x), controls])  # (w, 1 + c)
    left = np.column_stack([x, y])
    left = left - others @ np.linalg.lstsq(others, left, rcond=None)[0]  # (w, 2)
    free = x.size - np.linalg.matrix_rank(others) - 1
    spread = float(left[:, 0] @ left[:, 0])
    if free <= 0 or spread < 1e-8 * x.size:
        return np.nan, np.nan
    slope = float(left[:, 0] @ left[:, 1]) / spread
    noise = left[:, 1] - slope * left[:, 0]
    return slope, float(noise @ noise) / float(free) / spread
