"""A shop's price list, one row per product, read and cleaned."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from bandits.currencies import MINOR_DIGITS
from markets.checks import MOST, Rule, given_but, number_fix, sift, to_numbers, to_text
from markets.tables import TableError, find_columns, read_table

PRICE_COLUMNS = pl.Schema(
    {
        "listing_id": pl.String(),
        "title": pl.String(),
        "description": pl.String(),
        "category": pl.String(),
        "brand": pl.String(),
        "family_group": pl.String(),
        "price": pl.Float64(),
        "lines": pl.Float64(),
        "units": pl.Float64(),
    }
)
# Our name -> names accepted besides, best first; case, spaces and punctuation do not matter. The
# last names of title and family are the dunnhumby grocery set's.
_NAMES = {
    "listing_id": ("listing", "sku", "product_id", "item_id", "stock_code", "article_number"),
    "title": ("product_name", "product_title", "item_name", "name", "product", "product_type"),
    "description": ("product_description", "details"),
    "category": ("product_category", "department"),
    "brand": ("manufacturer", "maker"),
    "family_group": ("family", "product_family", "parent_id", "product_group", "product_type"),
    "price": ("shelf_price", "unit_price", "list_price", "selling_price", "item_price"),
    "lines": ("sales_lines", "orders"),
    "units": ("quantity", "qty", "units_sold", "sold"),
    "currency": ("currency_code",),
    "attributes": ("properties",),
}
_REQUIRED = ("listing_id", "price")
_TEXTS = ("listing_id", "title", "description", "category", "brand", "family_group", "currency")
_NUMBERS = ("price", "lines", "units")
# Text, not codes or dates: most cells of the column have two letters in a row.
_WORDS = r"\p{L}{2}"
# An amount with its currency, the whole cell where that is a code or a word: "GEL 50 ML" is none.
_CURRENCY = rf"(?:{'|'.join(MINOR_DIGITS)}|(?i:euros?|dollars?|pence|kr|zł|kč|rs|fr)\.?)"
_AMOUNT = r"\d[\d.,' ]*-?"
_TERMS = r"(?i:per|incl?|excl?|ex|plus|net|gross|vat|tax|each|ea|only|rrp|msrp)"
_MONEY = (
    rf"\p{{Sc}}\s*\d|\d\s*\p{{Sc}}"
    rf"|^(?:\w+:?\s)?(?:{_CURRENCY}\s*{_AMOUNT}|{_AMOUNT}\s*{_CURRENCY})"
    rf"[\s(,]*(?:/.*|{_TERMS}(?:[^\p{{L}}].*)?)?$"
)
# Numbers that go with the price, and lie near it, are money, however they are written.
_FEWEST_NUMBERS, _ALIKE, _APART = 10, 0.9, 1.1
_NUMBER = r"^[\d.,' ]*\d[\d.,' ]*$"
# A number under such a name in `attributes` is money, where a column of numbers would be left out.
_OF_MONEY = r"(?i)(?:^|[\W_])(?:prices?|rrp|msrp|costs?)(?:[\W_]|$)"


@dataclass(frozen=True, slots=True, eq=False)
class PriceList:
    """Products and what each is sold for, in the file's order.

    Attributes:
        products: columns as `PRICE_COLUMNS`, (n) rows: `listing_id` (unique), `title` or null,
            `description`, `category`, `brand` or null, `family_group` (variants of one product
            share it; the id where there is none), `price` (currency units per unit, above 0),
            `lines` (times sold) and `units` (sold), null where unknown.
        attributes: of each product, name -> value, n of them.
        dropped: reason in plain words -> rows of the file.
        notes: for each reason that occurred, a sentence with row, cell and fix; which columns were
            read as attributes, and which were not because they are money.
    """

    products: pl.DataFrame
    attributes: list[dict[str, str]]
    dropped: dict[str, int]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return self.products.height


def read_price_list(
    path: str | Path, *, currency: str | None = None, tolerance: float = 0.02
) -> PriceList:
    """Read a price list from `.csv`, `.xlsx`, `.parquet` or JSON lines.

    Columns (case, spaces and punctuation do not matter; other common names are accepted):

    | column | what it holds |
    |---|---|
    | `listing_id`, `price` | unique; currency units per unit, above 0 |
    | `title`, `description`, `category`, `brand` | texts; one of them, or of other columns |
    | `attributes` | a JSON object; every other column of words, not money, is one of its name |
    | `family_group` | the key to split by, optional |
    | `lines`, `units` | times sold and units sold, at least 0, optional |
    | `currency` | ISO 4217, optional, the same in every row unless `currency` says which to keep |

    Args:
        path: a table as `markets.tables.read_table` takes it.
        currency: of a file that names several, the one whose rows are kept.
        tolerance: share of rows that may be junk; they are dropped and reported.

    Raises:
        TableError: a missing column, several currencies, more junk than tolerated, the second of
            two rows with one id among it, or no row left; the message names column, row (from 1
            below the header), cell and fix.
    """
    return price_list(read_table(path), Path(path).name, currency=currency, tolerance=tolerance)


def price_list(
    table: pl.DataFrame, source: str, *, currency: str | None = None, tolerance: float = 0.02
) -> PriceList:
    """The price list in a table as `read_table` gives it; `source` is what messages call it."""
    called = find_columns(table, _NAMES, source, _NAMES.keys() - set(_REQUIRED))
    words = _columns_of_words(table, called)
    # A price in the text would be predicted from itself.
    price = to_numbers(table[called["price"]])
    money = [name for name in words if _mostly(table[name], _MONEY) or _follows(table[name], price)]
    others = [name for name in words if name not in money]
    if not others and not {"title", "description", "category", "brand"} & called.keys():
        raise TableError(
            f"{source}: no column of text. Found: {', '.join(table.columns)}. Add title, or other "
            "columns that describe the product in words"
        )
    raw = table.select(
        *(pl.col(theirs).alias(ours) for ours, theirs in called.items()),
        # Names that no column of ours has.
        *(pl.col(name).alias(f"attribute {name}") for name in others),
    )
    read = _typed(raw)
    wanted = _one_currency(read["currency"], currency, source)
    rules = [rule for rule in _rules(raw, wanted) if rule.column in raw.columns]
    sifted = sift(raw, read, rules, source, tolerance, called)
    notes = sifted.notes
    stated = [_object(cell) or {} for cell in sifted.rows["attributes"]]
    told = _of_money(stated)
    stated = [{k: v for k, v in one.items() if k not in told} for one in stated]
    money += sorted(told)
    if money:
        notes += (f"not read as attributes: {', '.join(money)}; most cells are money",)
    if others:
        notes += (f"read as attributes: {', '.join(others)}; leave a column out that says nothing",)
    return PriceList(
        sifted.rows.select(PRICE_COLUMNS.names()),
        _attributes(stated, sifted.rows, others),
        sifted.dropped,
        notes,
    )


def _columns_of_words(table: pl.DataFrame, called: dict[str, str]) -> list[str]:
    """Columns that describe a product besides those that have a place."""
    # A type of product groups products and describes them.
    groups = {name for ours, name in called.items() if ours == "family_group"}
    taken = set(called.values()) - {name for name in groups if _is_type(name)}
    taken |= {name for ours, name in called.items() if ours != "family_group"}
    return [name for name in table.columns if name not in taken and _says_words(table[name])]


def _is_type(name: str) -> bool:
    return re.sub(r"[\W_]", "", name).lower() == "producttype"


def _says_words(column: pl.Series) -> bool:
    if column.dtype.is_numeric() or column.dtype.is_temporal() or column.dtype.is_nested():
        return False
    return _mostly(column, _WORDS)


def _mostly(column: pl.Series, pattern: str) -> bool:
    share = to_text(column).drop_nulls().str.contains(pattern).mean()
    return isinstance(share, float) and share > 0.5


def _follows(column: pl.Series, price: pl.Series) -> bool:
    """Whether the numbers in a column's cells are the price in other words."""
    number = to_text(column).str.extract(r"(\d+(?:\.\d+)?)").cast(pl.Float64, strict=False)
    logs = pl.DataFrame({"said": number, "price": price}).filter(
        (pl.col("said") > 0) & (pl.col("price") > 0)
    )
    logs = logs.select(pl.all().log())
    if logs.height < max(_FEWEST_NUMBERS, column.len() / 2):
        return False
    alike = logs.select(pl.corr("said", "price")).item()
    apart = (logs["said"] - logs["price"]).abs().median()
    return bool(alike > _ALIKE and isinstance(apart, float) and apart < _APART)


def _typed(raw: pl.DataFrame) -> pl.DataFrame:
    """All columns of `_NAMES`, and attributes, typed; what cannot be read is null."""
    nothing = pl.Series([None] * raw.height, dtype=pl.String)
    cells = {name: raw[name] if name in raw.columns else nothing for name in _NAMES}
    texts = {name: to_text(cells[name]).str.replace_all(r"\s+", " ") for name in _TEXTS}
    others = [name for name in raw.columns if name not in _NAMES]
    return pl.DataFrame(
        {
            **texts,
            **{name: to_numbers(cells[name]) for name in _NUMBERS},
            **{name: to_text(raw[name]) for name in others},
            "attributes": _as_json(cells["attributes"]),
            "readable": _as_json(cells["attributes"]).map_elements(
                lambda cell: _object(cell) is not None, pl.Boolean, skip_nulls=True
            ),
        }
    ).with_columns(
        pl.coalesce("family_group", "listing_id").alias("family_group"),
        pl.col("currency").str.to_uppercase(),
    )


def _as_json(column: pl.Series) -> pl.Series:
    """Text of JSON objects; structs of `.parquet` and JSON lines are written as such."""
    if column.dtype == pl.Struct:
        return column.struct.json_encode()
    return to_text(column)


def _object(cell: str | None) -> dict[str, str] | None:
    """Name -> value of a JSON object, nulls left out; None where the cell is none."""
    try:
        found = json.loads(cell or "{}")
    except json.JSONDecodeError:
        return None
    if not isinstance(found, dict):
        return None
    return {str(name): str(value) for name, value in found.items() if value is not None}


def _of_money(stated: list[dict[str, str]]) -> set[str]:
    """Names in `attributes` whose values are mostly money."""
    values: dict[str, list[str]] = {}
    for one in stated:
        for name, value in one.items():
            values.setdefault(name, []).append(value)
    return {
        name
        for name, said in values.items()
        if _mostly(pl.Series(said), _MONEY)
        or (re.search(_OF_MONEY, name) and _mostly(pl.Series(said), _NUMBER))
    }


def _attributes(
    stated: list[dict[str, str]], rows: pl.DataFrame, others: Collection[str]
) -> list[dict[str, str]]:
    """Name -> value of each row: what `attributes` stated, and the other columns of words."""
    for name in others:
        for mine, value in zip(stated, rows[f"attribute {name}"], strict=True):
            if value is not None:
                mine.setdefault(name, value)
    return stated


def _one_currency(codes: pl.Series, wanted: str | None, source: str) -> str | None:
    if wanted is not None:
        if not re.fullmatch("[A-Z]{3}", wanted):
            raise ValueError(f"currency is {wanted!r}: give an ISO 4217 code such as 'GBP'")
        return wanted
    found = codes.drop_nulls().unique(maintain_order=True).to_list()
    if len(found) > 1:
        row = codes.eq_missing(found[1]).arg_max() or 0
        raise TableError(
            f"{source}: column currency names several ({', '.join(found[:5])}), row {row + 1} is "
            f"{found[1]!r}: convert the prices to one, or pass the currency whose rows are to be "
            f"kept: currency={found[0]!r} (--currency {found[0]}), say"
        )
    return str(found[0]) if found else None


def _rules(raw: pl.DataFrame, currency: str | None) -> list[Rule]:
    price = pl.col("price")
    empty = "or leave the cell empty"
    rules = [
        Rule("the product is not named", "listing_id", pl.col("listing_id").is_null(), "name it"),
        Rule("price cannot be read", "price", price.is_null(), number_fix),
        Rule("price is not above zero", "price", price <= 0, "write a price above 0"),
        Rule("price is above 1e12", "price", price > MOST, "check its unit"),
        *(
            Rule(
                f"{name} cannot be read",
                name,
                given_but(raw, name, pl.col(name).is_null()),
                lambda cell: f"{number_fix(cell)}, {empty}",
            )
            for name in ("lines", "units")
        ),
        *(
            Rule(
                f"{name} are below zero",
                name,
                pl.col(name).fill_null(0) < 0,
                f"give what was sold, at least 0, {empty}",
            )
            for name in ("lines", "units")
        ),
        Rule(
            "attributes cannot be read",
            "attributes",
            ~pl.col("readable").fill_null(True),
            'write a JSON object such as {"colour": "red"}, ' + empty,
        ),
        Rule(
            "listing ids occur twice",
            "listing_id",
            ~pl.col("listing_id").is_first_distinct(),
            "leave one row for each product; sales need columns at, price and units",
        ),
    ]
    if currency is not None:
        other = pl.col("currency").fill_null(currency) != currency
        fix = f"convert its price to {currency} to keep it"
        rules.append(Rule("priced in another currency", "currency", other, fix, junk=False))
    return rules
