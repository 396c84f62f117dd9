"""Online Retail and Online Retail II (UCI), read and cleaned.

What is dropped, and why, is in `docs/markets.md`; the order of the rules is the order of `_RULES`.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from markets.checks import Rule, Sifted, number_fix, sift, to_numbers, to_text
from markets.history import LINE_COLUMNS, LISTING_COLUMNS, SALES_COLUMNS, History
from markets.tables import SHEET, find_columns, has_columns, read_table

# Our name -> names it has in Online Retail and Online Retail II.
_NAMES = {
    "invoice": ("InvoiceNo", "Invoice"),
    "stock_code": ("StockCode",),
    "description": ("Description",),
    "quantity": ("Quantity",),
    "invoice_date": ("InvoiceDate",),
    "unit_price": ("UnitPrice", "Price"),
    "customer_id": ("CustomerID",),
}
# The whole column is read with the format that reads most of it; month first wins a tie, because
# that is how UCI's dates are written.
_DATE_FORMATS = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%m/%d/%Y %H:%M",
    "%m/%d/%y %H:%M",
    "%d/%m/%Y %H:%M",
    "%d/%m/%y %H:%M",
)
_CANCELLED = pl.col("invoice").str.contains(r"^[Cc]")
_LEAVE = "nothing to do: it is no sale"
# A row is counted under the first rule that it breaks. Junk is what no edition of the set holds.
_RULES = (
    Rule("cancellation (invoice number begins with C)", "invoice", _CANCELLED, _LEAVE, junk=False),
    Rule(
        "adjustment (invoice number does not begin with a digit)",
        "invoice",
        ~pl.col("invoice").str.contains(r"^\d"),
        _LEAVE,
        junk=False,
    ),
    Rule(
        "stock code does not begin with five digits (postage, fees, samples, vouchers)",
        "stock_code",
        ~pl.col("stock_code").str.contains(r"^\d{5}"),
        _LEAVE,
        junk=False,
    ),
    Rule("quantity cannot be read", "quantity", pl.col("quantity").is_null(), number_fix),
    Rule("price cannot be read", "unit_price", pl.col("unit_price").is_null(), number_fix),
    Rule(
        "date cannot be read",
        "invoice_date",
        pl.col("invoice_date").is_null(),
        "write all dates as 2010-12-01 08:26, or all as 12/1/2010 8:26",
    ),
    Rule(
        "quantity is not above zero",
        "quantity",
        pl.col("quantity") <= 0,
        "nothing to do: stock was written off",
        junk=False,
    ),
    Rule(
        "price is not above zero",
        "unit_price",
        pl.col("unit_price") <= 0,
        "nothing to do: goods were given away or found",
        junk=False,
    ),
    Rule(
        "line is on an earlier sheet, too",
        "invoice",
        pl.col("sheet")
        > pl.col("sheet")
        .min()
        .over("invoice", "stock_code", "quantity", "unit_price", "invoice_date"),
        "nothing to do: the sheets of Online Retail II share 1 to 9 December 2010",
        junk=False,
    ),
)
# A product keeps only the lines of the best tier it has.
_TIERS = {
    1: "consumer price list (no customer id) where trade prices are known",
    2: "sale taken back in full by a later cancellation",
}
# Lines of more than so many times a product's median quantity, below its usual price.
_LARGE = 5.0
TRADE, LARGE_TRADE, CONSUMER = "trade", "trade, large quantity", "consumer"
_UNRECORDED = ("description", "category", "brand", "unit_cost")


def read_online_retail(path: str | Path, *, tolerance: float = 0.02) -> History:
    """Read sales in the format of UCI's Online Retail or Online Retail II.

    Args:
        path: `.xlsx` (every sheet is read), `.csv` (commas; dates as ISO or `12/1/2010 8:26`),
            `.parquet` or JSON lines, with the columns InvoiceNo, StockCode, Description, Quantity,
            InvoiceDate, UnitPrice, CustomerID, under the names of either edition or in snake case.
        tolerance: share of rows whose quantity, price or date may be unreadable; they are dropped
            and reported. What else is dropped belongs to the set and has no limit.

    Returns:
        A history in GBP with one listing per stock code that has a valid sales line. `title` is
        the most frequent description, `family_group` the first five characters of the stock code
        (the letter after them is a colour), `sales` one row per listing, calendar day (the shop's,
        written as midnight UTC) and price, with the `channel` it was sold in: `TRADE`,
        `LARGE_TRADE` (a discount for quantity) or `CONSUMER`. Descriptions, categories, brands,
        costs and impressions are not recorded and null.

    Raises:
        TableError: the file cannot be read, lacks a column, has more junk than tolerated or no
            valid sales line; the message names column, row (from 1 below the header) and fix.
    """
    return retail_lines(read_table(path, sheets=True), Path(path).name, tolerance=tolerance)[0]


def retail_lines(
    table: pl.DataFrame, source: str, *, tolerance: float = 0.02
) -> tuple[History, pl.DataFrame]:
    """The history that `read_online_retail` gives, and the valid sales lines of both price lists.

    Args:
        table: as `read_table` gives it; its columns as `read_online_retail` takes them. Invoices
            that an earlier sheet has are dropped where it is read with `sheets`.
        source: what messages call the table: the file's name.
        tolerance: as `read_online_retail`.

    Returns:
        The history, and its lines, columns as `LINE_COLUMNS`, in the table's order: what a product
        is sold for on the consumer's list and in orders taken back is in them too, for it says
        what the product is worth and what is bought with it.
    """
    called = find_columns(table, _NAMES, source)
    raw = table.select(
        *(pl.col(theirs).alias(ours) for ours, theirs in called.items()),
        (pl.col(SHEET) if SHEET in table.columns else pl.lit(1)).alias("sheet"),
    )
    read = _typed(raw)
    sifted = sift(raw.drop("sheet"), read, _RULES, source, tolerance, called)
    kept, dropped = _best_tiers(sifted, _taken_back(read, sifted.rows))
    kept = kept.rename({"stock_code": "listing_id"})
    history = History(_listings(kept), _sales(kept), dropped, (*sifted.notes, _large_note(kept)))
    lines = sifted.rows.select(
        pl.col("stock_code").alias("listing_id"),
        pl.col("invoice").alias("order"),
        pl.col("unit_price").alias("price"),
        pl.col("quantity").cast(pl.Float64).alias("units"),
    )
    return history, lines.select(LINE_COLUMNS.names())


def is_online_retail(table: pl.DataFrame) -> bool:
    """Whether a table has all of Online Retail's columns."""
    return has_columns(table, _NAMES)


def _typed(raw: pl.DataFrame) -> pl.DataFrame:
    """Columns of `_NAMES` typed; what cannot be read is null, in codes of stock and invoices ""."""
    numbers = pl.DataFrame([to_numbers(raw[name]) for name in ("quantity", "unit_price")])
    texts = ("invoice", "stock_code", "description", "customer_id")
    return pl.DataFrame(
        [*(to_text(raw[name]) for name in texts), _dates(raw["invoice_date"]), *numbers]
    ).with_columns(
        pl.col("invoice", "stock_code").fill_null(""),
        pl.when(pl.col("quantity") % 1 == 0).then(pl.col("quantity").cast(pl.Int64, strict=False)),
        raw["sheet"],
    )


def _dates(column: pl.Series) -> pl.Series:
    if isinstance(column.dtype, pl.Datetime):  # the shop's clock says which day it is
        return column.dt.replace_time_zone(None).cast(pl.Datetime("us"))
    if column.dtype == pl.Date:
        return column.cast(pl.Datetime("us"))
    if column.dtype != pl.String:
        return pl.Series(column.name, [None] * len(column), pl.Datetime("us"))
    column = column.str.strip_chars().str.replace("T", " ")
    readings = (column.str.to_datetime(f, time_unit="us", strict=False) for f in _DATE_FORMATS)
    # %Y reads "10" as the year 10; such a reading is the wrong format, not an old sale.
    readings = (column.set(column.dt.year() < 1900, None) for column in readings)
    return max(readings, key=pl.Series.count)


def _best_tiers(sifted: Sifted, taken_back: pl.Series) -> tuple[pl.DataFrame, dict[str, int]]:
    """Lines of the best tier of each product, and reason -> number of lines dropped."""
    tier = (
        pl.when(pl.col("row").is_in(taken_back.implode()))
        .then(2)
        .when(pl.col("customer_id").is_null())
        .then(1)
        .otherwise(0)
    )
    valid = sifted.rows.with_columns(tier.alias("tier"))
    in_best = pl.col("tier") == pl.col("tier").min().over("stock_code")
    others = valid.filter(~in_best)["tier"]
    counts = {reason: int((others == number).sum()) for number, reason in _TIERS.items()}
    return valid.filter(in_best), {**sifted.dropped, **counts}


def _taken_back(read: pl.DataFrame, sold: pl.DataFrame) -> pl.Series:
    """Numbers of the sold rows whose whole quantity the same customer later cancelled.

    A cancellation takes back the last earlier line of that customer with its stock code, price and
    quantity that none before it took back. Without this, an order of 74,215 jars cancelled within
    minutes is a bestseller.
    """
    key = ["customer_id", "stock_code", "unit_price", "quantity"]
    identified = pl.col("customer_id").is_not_null() & pl.col("invoice_date").is_not_null()
    sales = sold.filter(identified).sort("invoice_date").select("row", "invoice_date", *key)
    cancelled = (
        read.filter(_CANCELLED & identified)
        .sort("invoice_date")
        .select("invoice_date", *key[:-1], -pl.col("quantity"))
    )
    taken = [sales["row"].head(0)]
    while cancelled.height:
        matched = cancelled.join_asof(
            sales, on="invoice_date", by=key, strategy="backward", check_sortedness=False
        ).drop_nulls("row")
        # of several that would take back one line the first does, the others look before it
        taken.append(matched["row"].unique())
        sales = sales.filter(~pl.col("row").is_in(taken[-1].implode()))
        cancelled = matched.filter(~pl.col("row").is_first_distinct()).drop("row")
    return pl.concat(taken)


def _listings(kept: pl.DataFrame) -> pl.DataFrame:
    text = pl.col("description").str.replace_all(r"\s+", " ").str.strip_chars(" .,*")
    shouted = text.str.count_matches("[A-Z]") > text.str.count_matches("[a-z]")
    sentence = text.str.slice(0, 1).str.to_uppercase() + text.str.slice(1).str.to_lowercase()
    titles = (
        kept.select("listing_id", pl.when(shouted).then(sentence).otherwise(text).alias("title"))
        .group_by("listing_id", "title")
        .len()
        # Texts before none, then the most frequent, then the first in the alphabet.
        .sort(
            "listing_id",
            pl.col("title").fill_null("") == "",
            -pl.col("len").cast(pl.Int64),
            "title",
        )
        .unique("listing_id", keep="first", maintain_order=True)
    )
    return titles.select(
        "listing_id",
        pl.when(pl.col("title").fill_null("") == "")
        .then("listing_id")
        .otherwise("title")
        .alias("title"),
        pl.col("listing_id").str.slice(0, 5).alias("family_group"),
        pl.lit("GBP").alias("currency"),
        *(pl.lit(None, LISTING_COLUMNS[name]).alias(name) for name in _UNRECORDED),
    ).select(LISTING_COLUMNS.names())


def _sales(kept: pl.DataFrame) -> pl.DataFrame:
    day = pl.col("invoice_date").dt.truncate("1d").dt.replace_time_zone("UTC")
    channel = (
        pl.when(pl.col("customer_id").is_null().all())
        .then(pl.lit(CONSUMER))
        .when(pl.col("large").all())
        .then(pl.lit(LARGE_TRADE))
        .otherwise(pl.lit(TRADE))
    )
    return (
        kept.with_columns(_is_large().alias("large"))
        .group_by("listing_id", day.alias("at"), pl.col("unit_price").alias("price"))
        .agg(pl.col("quantity").sum().alias("units"), channel.alias("channel"))
        .with_columns(pl.lit(None, pl.Int64).alias("impressions"))
        .select(*SALES_COLUMNS.names(), "channel")
        .sort("listing_id", "at", "price")
    )


def _is_large() -> pl.Expr:
    """Lines sold at a discount for quantity, among the lines of their product."""
    large = pl.col("quantity") > _LARGE * pl.col("quantity").median().over("listing_id")
    usual = pl.col("unit_price").filter(~large).median().over("listing_id")
    return large & (pl.col("unit_price") < usual) & pl.col("customer_id").is_not_null()


def _large_note(kept: pl.DataFrame) -> str:
    large = pl.col("large")
    count, lines, units = (
        kept.select("quantity", _is_large().alias("large"))
        .select(
            large.sum(),
            large.mean().alias("lines"),
            (pl.col("quantity").filter(large).sum() / pl.col("quantity").sum()).alias("units"),
        )
        .row(0)
    )
    return (
        f"{count} lines ({lines:.1%} of those kept, {units:.0%} of units) are of more than "
        f"{_LARGE:.0f} times the product's median quantity and below its usual price: a discount "
        f"for quantity. They are kept, with channel {LARGE_TRADE!r}; leave them out for the price "
        "of an ordinary order."
    )
