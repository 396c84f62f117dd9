"""Tables as the items that calls take: catalogues and recorded sales."""

import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, time
from difflib import get_close_matches
from typing import Any

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from markets.checks import filled, say_rows, spelled, to_numbers, to_text, to_times
from markets.sales_table import NAMES
from markets.tables import TableError, find_columns, read_table
from service.catalogue import NUMBERS
from service.outcomes import AHEAD_US
from service.pricebandit import now_us
from service.problems import ItemError
from service.schemas import Listing

__all__ = [
    "SalesTable",
    "TableError",
    "catalogue",
    "filled",
    "listing_items",
    "read_table",
    "rounding",
    "sales",
]

_KEPT = ("listing_id", "at", "price", "units", "impressions")
_OPTIONAL = ("impressions", "currency")
_FINER = 0.01  # minor units that a price may be off through rounding of its own
_SALES = {name: NAMES[name] for name in (*_KEPT, "currency")}
_LISTING = {name: NAMES.get(name, ()) for name in Listing.__annotations__}


def catalogue(table: pl.DataFrame, source: str, left_out: Collection[str] = ()) -> pl.DataFrame:
    """The columns that hold fields of a listing, under the fields' names.

    Args:
        source: what messages call the table. left_out: columns that are not to be read.

    Raises:
        TableError: a field that every listing has is missing, two columns are one field, or a
            column is none: a limit under a mistyped name must not go unnoticed.
    """
    if unknown := [name for name in left_out if name not in table.columns]:
        there = ", ".join(table.columns)
        raise TableError(f"{source}: no column {', '.join(unknown)} to leave out among {there}")
    table = table.drop(left_out)
    optional = _LISTING.keys() - {"listing_id", "title", "currency"}
    found = find_columns(table, _LISTING, source, optional, empty=True)
    said = {name for name in table.columns if filled(table.select(name)).any()}
    if others := [name for name in table.columns if name in said - set(found.values())]:
        near = {name: get_close_matches(name.lower(), _LISTING, 1, 0.8) for name in others}
        meant = "".join(f" Is {name!r} meant as {to[0]!r}?" for name, to in near.items() if to)
        raise TableError(
            f"{source}: {', '.join(others)}: no fields of a listing.{meant} Rename what is one, "
            f"and leave out the rest with --leave-out {','.join(others)!r}"
        )
    return table.select(pl.col(theirs).alias(ours) for ours, theirs in found.items())


def listing_items(table: pl.DataFrame) -> list[Any]:
    """Rows of a catalogue as listings, unknown fields absent, to be validated like any others.

    Columns are named as the fields of a listing; `attributes` and `objective` may be JSON text. Of
    numbers given as text, what is no number stays text, so that validation can say so.
    """
    for name in set(NUMBERS) & set(table.columns):
        if table.schema[name] == pl.String:
            table = _parsed(table, name)
        elif table.schema[name] == pl.Float32:
            table = table.with_columns(to_numbers(table[name]))
    if "listing_id" in table.columns and not table.schema["listing_id"].is_nested():
        table = table.with_columns(_ids(table["listing_id"]))
    return [_listing(row) for row in table.iter_rows(named=True)]


def _ids(column: pl.Series) -> pl.Series:
    """Ids as text; a column of whole numbers with a gap is one of fractions to some programs."""
    return to_text(column) if column.dtype.is_float() else spelled(column)


def _parsed(table: pl.DataFrame, name: str) -> pl.DataFrame:
    number = pl.col(name).str.strip_chars().cast(pl.Float64, strict=False)
    mixed = pl.when(number.is_not_null()).then(number)
    values = table.select(mixed.alias(name))[name].to_list()
    texts = table[name].to_list()
    return table.with_columns(
        pl.Series(
            name,
            [t if v is None else v for v, t in zip(values, texts, strict=True)],
            dtype=pl.Object,
        )
    )


def _listing(row: dict[str, Any]) -> dict[str, Any]:
    for name in _READ.keys() & row.keys():
        row[name] = _READ[name](row[name])
    listing = {name: value for name, value in row.items() if value is not None and value != ""}
    for name in ("attributes", "objective"):
        value = listing.get(name)
        if isinstance(value, str):
            with suppress(orjson.JSONDecodeError):  # what is no JSON stays text, to be judged so
                listing[name] = orjson.loads(value)
        elif isinstance(value, dict):
            listing[name] = {k: v for k, v in value.items() if v is not None}
    return listing


def _count(value: Any) -> Any:
    """A whole number of a spreadsheet or of text; another number, or none, stays to be judged."""
    text = str(value).strip()
    if whole := re.fullmatch(r"(-?\d{1,18})(?:\.0*)?", text):
        return int(whole[1])
    with suppress(ValueError):
        return float(text)
    return value


def _flag(value: Any) -> Any:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    return words.get(str(value).strip().lower(), value)


def _day(value: Any) -> Any:
    """A day that a spreadsheet keeps as its midnight."""
    if isinstance(value, datetime):
        midnight = value.tzinfo is None and value.time() == time()
        return value.date().isoformat() if midnight else value
    return value.strip().removesuffix(" 00:00:00") if isinstance(value, str) else value


_READ: dict[str, Callable[[Any], Any]] = {
    "inventory": _count,
    "one_unit_per_impression": _flag,
    "sell_by": _day,
}


@dataclass(frozen=True, slots=True)
class SalesTable:
    """Sound rows of recorded sales, (m,) each, and the errors of the others (index: file row).

    Attributes:
        listing_id: text. at_us: microseconds since 1970 UTC, int64. price: currency units.
        units: int64. impressions: whole numbers, NaN where unknown.
        repeat: how many equal sales the file has before each, int64; None: no two are equal.
    """

    listing_id: list[str]
    at_us: NDArray[np.int64]
    price: NDArray[np.float64]
    units: NDArray[np.int64]
    impressions: NDArray[np.float64]
    errors: list[ItemError]
    repeat: NDArray[np.int64] | None = None

    def part(self, start: int, end: int) -> "SalesTable":
        """Rows from `start` to before `end`, without errors."""
        rows = slice(start, end)
        return SalesTable(
            self.listing_id[rows],
            self.at_us[rows],
            self.price[rows],
            self.units[rows],
            self.impressions[rows],
            [],
            None if self.repeat is None else self.repeat[rows],
        )


def not_read(table: pl.DataFrame) -> list[str]:
    """Columns that `sales` does not look at."""
    read = find_columns(table, _SALES, "the table", _SALES, empty=True).values()
    return [name for name in table.columns if name not in read]


def sales(
    table: pl.DataFrame, known: Mapping[str, int], currency: Mapping[str, str] | None = None
) -> SalesTable:
    """Recorded sales: listing_id, at, price, units and, where there are any, impressions and the
    currency. Lines without any cell filled are passed over.

    Args:
        known: registered listings, id → minor units in one unit of its currency, as
            `Catalogue.minor_units`; sales of others are errors.
        currency: id → code of the currency that its price is in; what says another is an error.

    Raises:
        TableError: a column is missing, or two are one.
    """
    found = find_columns(table, _SALES, "the table of sales", _OPTIONAL, empty=True)
    table = table.select(
        *(pl.col(theirs).alias(ours) for ours, theirs in found.items()),
        *(name for name in table.columns if name not in (*found.values(), *_SALES)),
    )
    said = filled(table)
    place, table = said.arg_true().to_list(), table.filter(said)
    if "impressions" not in table.columns:
        table = table.with_columns(impressions=pl.lit(None, pl.Float64))
    raw = table.select(*_KEPT, *({"currency"} & set(table.columns)))
    read = raw.select(
        _ids(raw["listing_id"]),
        to_times(raw["at"]),
        *(to_numbers(raw[name]) for name in ("price", "units", "impressions")),
    )
    checks = _checks(raw, known, currency or {})
    sound = read.select(
        check.fill_null(False).alias(str(i)) for i, (_, check, _) in enumerate(checks)
    )
    errors = [
        ItemError(place[i], name, f"{name} is {_shown(raw[name][i])}: {message}")
        for (name, _, message), passed in zip(checks, sound, strict=True)
        for i in (~passed).arg_true().to_list()
    ]
    good = read.filter(sound.select(pl.all_horizontal(pl.all())).to_series())
    return SalesTable(
        good["listing_id"].to_list(),
        good["at"].dt.epoch("us").to_numpy(),
        good["price"].to_numpy(),
        good["units"].cast(pl.Int64).to_numpy(),
        good["impressions"].fill_null(float("nan")).to_numpy(),
        sorted(errors, key=lambda error: error.index),
        _repeats(good, known),
    )


def _checks(
    raw: pl.DataFrame, known: Mapping[str, int], currency: Mapping[str, str]
) -> tuple[tuple[str, pl.Expr, str], ...]:
    """Column, what is to hold of it over the columns as read, and what to do where it does not."""
    given = raw["impressions"].is_not_null()
    if raw.schema["impressions"] == pl.String:
        given &= raw["impressions"].str.strip_chars() != ""
    per_major = pl.col("listing_id").replace_strict(
        list(known), list(known.values()), default=None, return_dtype=pl.Int64
    )
    said = pl.lit(None, pl.String)
    if "currency" in raw.columns:
        said = pl.lit(to_text(raw["currency"]).str.to_uppercase())
    own = pl.col("listing_id").replace_strict(
        list(currency), list(currency.values()), default=None, return_dtype=pl.String
    )
    # a price is kept in minor units, and that of nothing has no logarithm
    nothing = (pl.col("price") > 0) & (pl.col("price") * per_major <= 0.5)
    return (
        ("listing_id", pl.col("listing_id").is_in(list(known)), "unknown: register it first"),
        (
            "at",
            pl.col("at").is_not_null(),
            "not a time: give 2026-01-31 or 2026-01-31T12:00:00Z",
        ),
        (
            "at",
            # as of outcomes: forgetting counts from the latest time seen, and one far off makes
            # impressions a day next to none
            pl.col("at").is_null() | pl.col("at").dt.epoch("us").is_between(0, now_us() + AHEAD_US),
            "give a time from 1970 to now, or leave the row out",
        ),
        (
            "price",
            pl.col("price").is_finite() & pl.col("price").is_between(0, 1e12, closed="right"),
            "not a price: give a number above 0, at most 1e12",
        ),
        (
            "price",
            ~nothing.fill_null(False),
            "rounds to 0 in its currency: check the unit, or leave the row out",
        ),
        (
            "currency",
            said.is_null() | own.is_null() | (said == own),
            "the listing has another: convert the price, or leave the row out",
        ),
        ("units", _whole("units", 0), "give a whole number of at least 0"),
        (
            "impressions",
            pl.when(given).then(_whole("impressions", 1)).otherwise(True),
            "give a whole number of at least 1, or nothing where it is unknown",
        ),
    )


def _repeats(good: pl.DataFrame, known: Mapping[str, int]) -> NDArray[np.int64]:
    """How many equal sales come before each, int64 (m,): equal as the log has them, which keeps
    prices in minor units.
    """
    per_major = np.array([known[name] for name in good["listing_id"]], np.int64)
    minor = np.rint(good["price"].to_numpy() * per_major)
    counted = good.with_columns(price=pl.Series(minor))
    return counted.select(pl.int_range(pl.len()).over(_KEPT)).to_series().to_numpy()


def rounding(sold: SalesTable, known: Mapping[str, int]) -> str | None:
    """What to say of prices that have more decimals than the log keeps; None where there are none.

    Args:
        known: as `sales` takes it.
    """
    minor = sold.price * np.array([known[name] for name in sold.listing_id], np.int64)
    finer = np.flatnonzero(np.abs(minor - np.rint(minor)) > _FINER)
    if not len(finer):
        return None
    first = finer[0]
    return (
        f"{say_rows(len(finer))} with a price that is no whole number of its currency's smallest "
        f"unit, first {sold.price[first]:.10g} of {sold.listing_id[first]!r}: rounded to it"
    )


def _shown(value: Any) -> str:
    """A cell in a message."""
    value = value.to_list() if isinstance(value, pl.Series) else value
    return value.isoformat() if isinstance(value, date) else f"{value!r:.60}"


def _whole(name: str, least: int) -> pl.Expr:
    """Whether a column has a whole number from `least` to 10¹², bool (m,)."""
    number = pl.col(name)
    return number.is_between(least, 1e12) & (number % 1 == 0)
