"""Online Retail and Online Retail II (UCI), read and cleaned.

What is dropped, and why, is in `docs/markets.md`; the order of the rules is the order of `_RULES`.
"""

from __future__ import annotations

import re
from pathlib import Path

import polars as pl

from markets.history import LISTING_COLUMNS, SALES_COLUMNS, History

# Our name -> names it has in Online Retail, Online Retail II and renamed copies, compared in lower
# case without spaces, underscores or a byte-order mark.
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
# A row is counted under the first rule that it breaks. Each expression is true for rows to drop.
_RULES = {
    "cancellation (invoice number begins with C)": pl.col("invoice").str.contains(r"^[Cc]"),
    "adjustment (invoice number does not begin with a digit)": ~pl.col("invoice").str.contains(
        r"^\d"
    ),
    "stock code does not begin with five digits (postage, fees, samples, vouchers)": ~pl.col(
        "stock_code"
    ).str.contains(r"^\d{5}"),
    "quantity, price or date cannot be read": pl.any_horizontal(
        pl.col("quantity", "unit_price", "invoice_date").is_null()
    ),
    "quantity is not above zero": pl.col("quantity") <= 0,
    "price is not above zero": pl.col("unit_price") <= 0,
}
# A product keeps only the lines of the best tier it has.
_TIERS = {
    1: "consumer price list (no customer id) where trade prices are known",
    2: "sale taken back in full by a later cancellation",
}
_UNRECORDED = ("description", "category", "brand", "unit_cost")


def read_online_retail(path: str | Path) -> History:
    """Read sales in the format of UCI's Online Retail or Online Retail II.

    Args:
        path: `.xlsx` (every sheet is read), `.csv` (commas; dates as ISO or `12/1/2010 8:26`) or
            `.parquet`, with the columns InvoiceNo, StockCode, Description, Quantity, InvoiceDate,
            UnitPrice, CustomerID, under the names of either edition or in snake case.

    Returns:
        A history in GBP with one listing per stock code that has a valid sales line. `title` is
        the most frequent description, `family_group` the first five characters of the stock code
        (the letter after them is a colour), `sales` one row per listing, calendar day (the shop's,
        written as midnight UTC) and price. Descriptions, categories, brands, costs and impressions
        are not recorded and null.

    Raises:
        FileNotFoundError: there is no such file.
        ModuleNotFoundError: `.xlsx` without `fastexcel`, which reads it.
        ValueError: the file cannot be read, lacks a column, or has no valid sales line; the message
            says what is missing, what was found and what to do.
    """
    path = Path(path)
    lines = _typed(_named(_read(path), path))
    kept, dropped = _sort_out(lines)
    if kept.is_empty():
        raise ValueError(f"{path.name}: none of {lines.height} rows is a valid sale: {dropped}")
    kept = kept.rename({"stock_code": "listing_id"})
    return History(_listings(kept), _sales(kept), dropped)


def _read(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    try:
        match path.suffix.lower():
            case ".parquet":
                return pl.read_parquet(path)
            case ".csv":
                return _read_csv(path)
            case ".xlsx":
                return _read_xlsx(path)
    except (pl.exceptions.PolarsError, UnicodeError) as error:
        raise ValueError(f"{path.name} cannot be read as {path.suffix}: {error}") from error
    raise ValueError(f"{path.name}: expected .xlsx, .csv or .parquet, found {path.suffix!r}")


def _read_csv(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema=False)
    except pl.exceptions.ComputeError:
        # The copies in circulation are Latin-1: the pound sign in a few descriptions is one byte.
        return pl.read_csv(path, infer_schema=False, encoding="iso-8859-1")


def _read_xlsx(path: Path) -> pl.DataFrame:
    try:
        import fastexcel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"{path.name}: reading .xlsx needs fastexcel; pip install 'pricebandit[demo]'"
        ) from error
    try:
        book = fastexcel.read_excel(path)
        # Everything as text: stock codes are numbers in some cells and words in others, and a type
        # guessed from the first rows would turn the others into nulls.
        sheets: list[pl.DataFrame] = [
            book.load_sheet(name, dtypes="string").to_polars() for name in book.sheet_names
        ]
    except fastexcel.FastExcelError as error:
        raise ValueError(f"{path.name} cannot be read as .xlsx: {error}") from error
    return pl.concat([sheet for sheet in sheets if sheet.width], how="diagonal")


def _named(table: pl.DataFrame, path: Path) -> pl.DataFrame:
    found = {re.sub(r"[\W_]", "", name).lower(): name for name in table.columns}
    chosen = {
        ours: next((found[name.lower()] for name in names if name.lower() in found), None)
        for ours, names in _NAMES.items()
    }
    missing = [" or ".join(_NAMES[ours]) for ours, name in chosen.items() if name is None]
    if missing:
        raise ValueError(
            f"{path.name} is not in Online Retail's format: no column {', '.join(missing)}. "
            f"Found: {', '.join(table.columns) or 'no columns'}. Rename the columns as UCI "
            "publishes them, in a comma-separated file with a header row."
        )
    return table.select(pl.col(name).alias(ours) for ours, name in chosen.items() if name)


def _typed(table: pl.DataFrame) -> pl.DataFrame:
    """Columns of `_NAMES` -> the same columns typed; what cannot be read becomes null."""
    text = pl.col("invoice", "stock_code", "description", "customer_id").cast(pl.String)
    number = pl.col("quantity", "unit_price").cast(pl.Float64, strict=False)
    table = table.with_columns(
        # Spreadsheets turn codes into numbers: 85123 comes back as 85123.0.
        text.str.strip_chars().str.replace(r"^(\d+)\.0$", "${1}").replace("", None),
        pl.when(number.is_finite()).then(number),
    )
    return table.with_columns(
        pl.col("invoice", "stock_code").fill_null(""),
        pl.col("quantity").cast(pl.Int64, strict=False),
        _dates(table["invoice_date"]),
    )


def _dates(column: pl.Series) -> pl.Series:
    if column.dtype != pl.String:
        return column.cast(pl.Datetime("us"))
    column = column.str.strip_chars().str.replace("T", " ")
    readings = (column.str.to_datetime(f, time_unit="us", strict=False) for f in _DATE_FORMATS)
    # %Y reads "10" as the year 10; such a reading is the wrong format, not an old sale.
    readings = (column.set(column.dt.year() < 1900, None) for column in readings)
    return max(readings, key=pl.Series.count)


def _sort_out(lines: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """All lines -> lines that count as sales, and reason -> number of lines dropped."""
    broken = pl.coalesce(
        pl.when(rule).then(pl.lit(reason, pl.String)) for reason, rule in _RULES.items()
    )
    lines = lines.with_row_index("line").with_columns(broken.alias("reason"))
    valid = lines.filter(pl.col("reason").is_null())
    tier = (
        pl.when(pl.col("line").is_in(_taken_back(lines).implode()))
        .then(2)
        .when(pl.col("customer_id").is_null())
        .then(1)
        .otherwise(0)
    )
    valid = valid.with_columns(tier.alias("tier"))
    in_best = pl.col("tier") == pl.col("tier").min().over("stock_code")
    reasons = pl.concat(
        [
            lines["reason"].drop_nulls(),
            valid.filter(~in_best)["tier"].replace_strict(_TIERS, return_dtype=pl.String),
        ]
    )
    counts = dict(reasons.value_counts().iter_rows())
    order = [*_RULES, *_TIERS.values()]
    return valid.filter(in_best), {reason: counts.get(reason, 0) for reason in order}


def _taken_back(lines: pl.DataFrame) -> pl.Series:
    """Numbers of the sales lines whose whole quantity the same customer later cancelled.

    A cancellation takes back the last earlier line of that customer with its stock code, price and
    quantity. Without this, an order of 74,215 jars cancelled within minutes is a bestseller.
    """
    key = ["customer_id", "stock_code", "unit_price", "quantity"]
    lines = lines.filter(pl.col("customer_id").is_not_null()).sort("invoice_date")
    sales = lines.filter(pl.col("reason").is_null()).select("line", "invoice_date", *key)
    cancelled = lines.filter(pl.col("reason") == next(iter(_RULES))).select(
        "invoice_date", *key[:-1], -pl.col("quantity")
    )
    cancelled = cancelled.filter(pl.col("invoice_date").is_not_null())
    matched = cancelled.join_asof(
        sales, on="invoice_date", by=key, strategy="backward", check_sortedness=False
    )
    return matched["line"].drop_nulls().unique()


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
    return (
        kept.group_by("listing_id", day.alias("at"), pl.col("unit_price").alias("price"))
        .agg(pl.col("quantity").sum().alias("units"))
        .with_columns(pl.lit(None, pl.Int64).alias("impressions"))
        .select(SALES_COLUMNS.names())
        .sort("listing_id", "at", "price")
    )
