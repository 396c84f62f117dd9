"""A shop's own record of sales, one row per sale or per listing and period, read and cleaned."""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from markets.checks import (
    MOST,
    Rule,
    given_but,
    number_fix,
    say_rows,
    sift,
    time_fix,
    to_numbers,
    to_text,
    to_times,
)
from markets.history import (
    LINE_COLUMNS,
    LISTING_COLUMNS,
    SALES_COLUMNS,
    SALES_EXTRAS,
    History,
)
from markets.tables import TableError, find_columns, has_columns, read_table

NAMES = {
    "listing_id": ("listing", "sku", "product_id", "item_id", "stock_code", "article_number"),
    "title": ("product_name", "product_title", "item_name", "name", "product", "item", "text"),
    "description": ("product_description", "details"),
    "category": ("department", "product_category", "product_type"),
    "brand": ("manufacturer", "maker"),
    "family_group": ("family", "product_family", "parent_id", "product_group"),
    "at": ("date", "time", "datetime", "timestamp", "day", "order_date", "invoice_date", "sold_at"),
    "price": ("unit_price", "selling_price", "item_price", "price_per_unit"),
    "units": ("quantity", "qty", "units_sold", "sold"),
    "impressions": ("views", "shown", "visits"),
    "unit_cost": ("cost", "cost_price", "purchase_price", "cogs"),
    "currency": ("currency_code",),
    "promotion": ("promo", "on_promotion", "deal", "special_offer"),
    "channel": ("sales_channel", "price_list", "shop", "store"),
    "order": ("order_id", "order_number", "invoice", "invoice_id", "receipt", "basket"),
}
"""Our name -> names accepted besides, best first; case, spaces and punctuation do not matter."""

_REQUIRED = ("at", "price", "units")
_TEXTS = ("title", "description", "category", "brand", "family_group")
_CODES = ("listing_id", "order", "channel", "promotion")
_YES_NO = {
    **dict.fromkeys(("1", "true", "t", "yes", "y"), True),
    **dict.fromkeys(("0", "false", "f", "no", "n"), False),
}
# A title that says nothing else is a charge, not a product.
_CHARGES = (
    r"(?i)^(postage|shipping|delivery|carriage|handling|packing|gift ?(card|voucher|wrap)|voucher|"
    r"discount|deposit|donation|samples?|adjustment|refund|bank|service|insurance|fee)"
    r"( (and|&) (postage|packing|handling))?( ?(charges?|costs?|fees?|adjustment))?s?$"
)
# Channels whose price levels lie this far apart are worth a note.
_CHANNEL_GAP = 1.1
_KEY = ("listing_id", "at", "price", "promotion", "channel")


def read_sales_table(
    path: str | Path,
    *,
    currency: str | None = None,
    channel: str | None = None,
    date_format: str | None = None,
    tolerance: float = 0.02,
) -> History:
    """Read recorded sales from `.csv`, `.xlsx`, `.parquet` or JSON lines.

    Columns (case, spaces and punctuation do not matter; other common names are accepted):

    | column | what it holds |
    |---|---|
    | `listing_id`, `title` | one of them; without ids, title, brand and category are it |
    | `at` | time or day of the sale, or start of the period; ISO 8601, UTC where no zone is given |
    | `price`, `units` | currency units per unit, above 0; whole units, below 0 for a return |
    | `currency` | ISO 4217, the same in every row; or the argument |
    | `description`, `category`, `brand`, `family_group` | texts; these and the next are optional |
    | `impressions`, `unit_cost`, `promotion`, `channel` | count, money, yes or no, text |
    | `order` | which rows were bought together; not kept in a history, see `sales_lines` |

    Args:
        path: a table as `markets.tables.read_table` takes it.
        currency: currency of a file that does not say; of a file that says several, the one whose
            rows are kept.
        channel: keep the rows of this channel only; None keeps all.
        date_format: how dates are written where not in ISO 8601, as `strptime` has it.
        tolerance: share of rows that may be junk (a cell that cannot be read, a price not above
            zero); they are dropped and reported. Returns, charges such as postage, and rows of
            other currencies and channels are dropped too, whatever their share.

    Returns:
        A history with one listing per id (its most frequent texts, its last unit cost;
        `family_group` is the id where there is none) and sales summed by listing, time, price,
        promotion and channel. Rows that share those are added up, and `notes` says how many.

    Raises:
        TableError: a missing column, several currencies, more junk than tolerated, or no row left;
            the message names column, row (from 1 below the header), cell and fix.
    """
    return sales_lines(
        read_table(path),
        Path(path).name,
        currency=currency,
        channel=channel,
        date_format=date_format,
        tolerance=tolerance,
    )[0]


def sales_lines(
    table: pl.DataFrame,
    source: str,
    *,
    currency: str | None = None,
    channel: str | None = None,
    date_format: str | None = None,
    tolerance: float = 0.02,
) -> tuple[History, pl.DataFrame]:
    """The history that `read_sales_table` gives, and its rows with units, one by one.

    Args:
        table: as `read_table` gives it; its columns as `read_sales_table` takes them.
        source: what messages call the table: the file's name.
        currency, channel, date_format, tolerance: as `read_sales_table`.

    Returns:
        The history, and the rows that something was sold in, columns as `LINE_COLUMNS`, in the
        table's order: sales lines where the table has a row for each, else sums of a period.
    """
    called = find_columns(table, NAMES, source, NAMES.keys() - set(_REQUIRED))
    raw = table.select(pl.col(theirs).alias(ours) for ours, theirs in called.items())
    if not {"listing_id", "title"} & set(raw.columns):
        raise TableError(
            f"{source}: no column listing_id or title. Found: {', '.join(table.columns)}. "
            "Add the listing's id, its title, or both"
        )
    if currency is not None and not re.fullmatch("[A-Z]{3}", currency):
        raise ValueError(f"currency is {currency!r}: give an ISO 4217 code such as 'GBP'")
    if channel is not None and "channel" not in raw.columns:
        raise TableError(f"{source}: no column channel to find {channel!r} in: add it")
    read = _typed(raw, currency, date_format)
    if currency is None:
        currency = _one_currency(read["currency"], "currency" in raw.columns, source)
    rules = [*_unreadable(raw), *_unwanted(currency, channel)]
    rules = [rule for rule in rules if rule.column in raw.columns]
    sifted = sift(raw, read, rules, source, tolerance, called)
    notes = (*sifted.notes, *_sums(sifted.rows), *_channel_gap(sifted.rows))
    sales = _sales(sifted.rows, raw.columns)
    lines = sifted.rows.filter(pl.col("units") > 0).select(LINE_COLUMNS.names())
    return History(_listings(sifted.rows), sales, sifted.dropped, notes), lines


def is_sales_table(table: pl.DataFrame) -> bool:
    """Whether a table has the columns that a table of sales must have."""
    return has_columns(table, {name: NAMES[name] for name in _REQUIRED})


def _typed(raw: pl.DataFrame, currency: str | None, date_format: str | None) -> pl.DataFrame:
    """All columns of `NAMES`, typed; what cannot be read, or is not there, is null."""
    nothing = pl.Series([None] * raw.height, dtype=pl.String)
    cells = {name: raw[name] if name in raw.columns else nothing for name in NAMES}
    numbers = ("price", "units", "impressions", "unit_cost")
    texts = {name: to_text(cells[name]) for name in (*_TEXTS, *_CODES)}
    tidy = {name: text.str.replace_all(r"\s+", " ") for name, text in texts.items()}
    read = pl.DataFrame(
        {
            **tidy,
            **{name: to_numbers(cells[name]) for name in numbers},
            "at": to_times(cells["at"], date_format),
            "promotion": tidy["promotion"]
            .str.to_lowercase()
            .replace_strict(_YES_NO, default=None, return_dtype=pl.Boolean),
            "currency": to_text(cells["currency"]).str.to_uppercase().fill_null(currency or ""),
        }
    )
    if "listing_id" not in raw.columns:
        words = pl.concat_str("title", "brand", "category", separator=" | ", ignore_nulls=True)
        read = read.with_columns(
            pl.when(pl.col("title").is_not_null()).then(words).alias("listing_id")
        )
    return read.with_columns(pl.coalesce("title", "listing_id").alias("title"))


def _one_currency(codes: pl.Series, stated: bool, source: str) -> str:
    if not stated:
        raise TableError(
            f"{source}: no column currency: add it, or pass currency='GBP' (--currency GBP), say"
        )
    named = codes.to_frame("code").with_row_index("row", offset=1)
    found = (
        named.filter(pl.col("code").str.contains("^[A-Z]{3}$"))
        .group_by("code", maintain_order=True)
        .agg(pl.len(), pl.col("row").first())
    )
    if found.height > 1:
        each = "; ".join(f"{code} {say_rows(n)}, first row {row}" for code, n, row in found.rows())
        code = found["code"][0]
        raise TableError(
            f"{source}: column currency names several ({each}): convert the prices to one, or pass "
            f"the currency whose rows are to be kept: currency={code!r} (--currency {code}), say"
        )
    if found.is_empty():
        raise TableError(
            f"{source}: column currency, row 1 is {codes[0]!r}: write an ISO 4217 code such as GBP "
            "in every row, or pass currency='GBP' (--currency GBP), say"
        )
    return str(found["code"][0])


def _unreadable(raw: pl.DataFrame) -> list[Rule]:
    """Rows that are wrong in themselves, in the order in which they are counted."""

    def no_count(name: str) -> pl.Expr:
        return (pl.col(name) % 1 != 0) | (pl.col(name).abs() > MOST)

    identity = "listing_id" if "listing_id" in raw.columns else "title"
    above = "write a price above 0, or leave the row out"
    empty = "or leave the cell empty"
    no_impressions = no_count("impressions") | (pl.col("impressions") < 0)
    no_impressions = given_but(raw, "impressions", no_impressions)
    no_cost = given_but(raw, "unit_cost", pl.col("unit_cost") < 0)
    no_answer = given_but(raw, "promotion", pl.col("promotion").is_null())
    no_code = ~pl.col("currency").str.contains("^[A-Z]{3}$")
    a_count, a_cost = f"give a whole number, {empty}", f"give a number of at least 0, {empty}"
    a_code = "write an ISO 4217 code such as GBP"
    return [
        Rule("the listing is not named", identity, pl.col("listing_id").is_null(), "name it"),
        Rule("time cannot be read", "at", pl.col("at").is_null(), time_fix),
        Rule("price cannot be read", "price", pl.col("price").is_null(), number_fix),
        Rule("price is not above zero", "price", pl.col("price") <= 0, above),
        Rule("price is above 1e12", "price", pl.col("price") > MOST, "check its unit"),
        Rule("units cannot be read", "units", pl.col("units").is_null(), number_fix),
        Rule("units are not whole", "units", no_count("units"), "give whole units"),
        Rule("impressions cannot be read", "impressions", no_impressions, a_count),
        Rule("unit cost cannot be read", "unit_cost", no_cost, a_cost),
        Rule("promotion cannot be read", "promotion", no_answer, f"write yes or no, {empty}"),
        Rule("currency is no code", "currency", no_code, a_code),
    ]


def _unwanted(currency: str, channel: str | None) -> list[Rule]:
    """Rows that are sound, but no sale of a product that was asked for."""
    rules = [
        Rule(
            "sold in another currency",
            "currency",
            pl.col("currency") != currency,
            f"convert its price to {currency} to keep it",
            junk=False,
        ),
        Rule(
            "returned (units below zero)",
            "units",
            pl.col("units") < 0,
            "nothing to do: returns are not taken off earlier sales",
            junk=False,
        ),
    ]
    charge = pl.col("title").str.contains(_CHARGES)
    reason, fix = "no product (postage, fee, voucher)", "if it is one, give it a title of its own"
    rules.append(Rule(reason, "title", charge, fix, junk=False))
    if channel is not None:
        other = pl.col("channel").ne_missing(pl.lit(channel))
        fix = f"only {channel!r} was asked for"
        rules.append(Rule("sold in another channel", "channel", other, fix, junk=False))
    return rules


def _listings(rows: pl.DataFrame) -> pl.DataFrame:
    return (
        rows.sort("at", maintain_order=True)
        .group_by("listing_id")
        .agg(
            *(pl.col(name).drop_nulls().mode().sort().first() for name in _TEXTS),
            pl.col("currency").first(),
            pl.col("unit_cost").drop_nulls().last(),
        )
        .with_columns(pl.coalesce("family_group", "listing_id").alias("family_group"))
        .select(LISTING_COLUMNS.names())
        .sort("listing_id")
    )


def _sales(rows: pl.DataFrame, recorded: list[str]) -> pl.DataFrame:
    extras = [name for name in SALES_EXTRAS if name in recorded]
    return (
        rows.group_by(_KEY)
        .agg(
            pl.col("units").sum().cast(pl.Int64),
            pl.when(pl.col("impressions").null_count() == 0)
            .then(pl.col("impressions").sum())
            .cast(pl.Int64),
            pl.col("unit_cost").mean(),
        )
        .select(*SALES_COLUMNS.names(), *extras)
        .sort("listing_id", "at", "price", *(name for name in extras if name in _KEY))
    )


def _sums(rows: pl.DataFrame) -> list[str]:
    again = rows.filter(~pl.struct(_KEY).is_first_distinct())
    if again.is_empty():
        return []
    return [
        "same listing, time, price, promotion and channel as an earlier row: "
        f"{say_rows(again.height)}, first row {again['row'][0]}; units and impressions are added "
        "up: remove rows that the file repeats by mistake."
    ]


def _channel_gap(rows: pl.DataFrame) -> list[str]:
    """A note where the same listings cost more in one channel than in another."""
    levels = rows.group_by("listing_id", "channel").agg(pl.col("price").median())
    both = levels.filter(pl.len().over("listing_id") > 1)
    if both.is_empty():
        return []
    shop = both.with_columns(
        (pl.col("price") / pl.col("price").min().over("listing_id")).alias("ratio")
    )
    ratios = shop.group_by("channel").agg(pl.col("ratio").median()).sort("ratio", "channel")
    if ratios["ratio"].max() < _CHANNEL_GAP * ratios["ratio"].min():  # type: ignore[operator]
        return []
    dear = ratios.row(-1, named=True)
    return [
        f"{both['listing_id'].n_unique()} listings are sold in several channels, in "
        f"{dear['channel']!r} at a median {dear['ratio']:.2f} times their lowest price: a price "
        "level over all channels is nobody's price; pass channel= to keep one."
    ]
