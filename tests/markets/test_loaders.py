"""The contract of every loader: a bad table is an error or a report that names what and where.

A loader joins by one entry in `LOADERS`: a sound table as text, and what its columns hold.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from test_open_bandit import small as impressions
from test_orange_juice import small
from test_price_experiment import small as offers

import markets
from markets import (
    TableError,
    read_online_retail,
    read_open_bandit,
    read_orange_juice,
    read_price_experiment,
    read_price_list,
    read_sales_table,
)

ROWS = 200


@dataclass(frozen=True)
class Loader:
    """A loader and a table it likes.

    Attributes:
        number: a column of numbers. price: the column of prices. date: column of times, or None.
        key: columns that tell rows apart where a row may not occur twice, else ().
    """

    read: Callable[[Path], Any]
    sound: pl.DataFrame
    number: str
    price: str
    date: str | None
    key: tuple[str, ...] = ()

    def write(self, path: Path, **changed: object) -> Path:
        """The table with cells of some columns replaced: {column: {row (from 1): cell}}."""
        table = self.sound
        for column, cells in changed.items():
            values = table[column].to_list()
            for row, cell in cells.items():
                values[row - 1] = cell
            table = table.with_columns(pl.Series(column, values, pl.String))
        table.write_csv(path)
        return path


def text_of(columns: dict[str, list[object]]) -> pl.DataFrame:
    return pl.DataFrame({name: [str(v) for v in values] for name, values in columns.items()})


def days() -> list[str]:
    return [f"2011-{1 + i // 28:02}-{1 + i % 28:02} 08:26" for i in range(ROWS)]


LOADERS = {
    "read_online_retail": Loader(
        read_online_retail,
        text_of(
            {
                "InvoiceNo": list(range(536365, 536365 + ROWS)),
                "StockCode": ["85123A", "22423"] * (ROWS // 2),
                "Description": ["WHITE HANGING HEART", "REGENCY CAKESTAND"] * (ROWS // 2),
                "Quantity": [6] * ROWS,
                "InvoiceDate": days(),
                "UnitPrice": [2.55, 12.75] * (ROWS // 2),
                "CustomerID": [17850] * ROWS,
            }
        ),
        number="Quantity",
        price="UnitPrice",
        date="InvoiceDate",
    ),
    "read_sales_table": Loader(
        read_sales_table,
        text_of(
            {
                "sku": ["a", "b"] * (ROWS // 2),
                "name": ["Red mug", "Oak bowl"] * (ROWS // 2),
                "date": days(),
                "unit price": [5.0, 9.5] * (ROWS // 2),
                "quantity": [1] * ROWS,
                "currency": ["GBP"] * ROWS,
            }
        ),
        number="quantity",
        price="unit price",
        date="date",
    ),
    "read_price_list": Loader(
        read_price_list,
        text_of(
            {
                "sku": list(range(ROWS)),
                "name": ["Red mug", "Oak bowl"] * (ROWS // 2),
                "price": [5.0, 9.5] * (ROWS // 2),
                "units": [3] * ROWS,
            }
        ),
        number="price",
        price="price",
        date=None,
        key=("sku",),
    ),
    "read_orange_juice": Loader(
        read_orange_juice,
        small(weeks=10).head(ROWS).cast(pl.String),
        number="logmove",
        price="price3",
        date=None,
        key=("store", "brand", "week"),
    ),
    "read_open_bandit": Loader(
        read_open_bandit,
        impressions(ROWS).cast(pl.String),
        number="click",
        price="propensity_score",
        date="timestamp",
    ),
    "read_price_experiment": Loader(
        read_price_experiment,
        offers(ROWS).cast(pl.String),
        number="wave",
        price="offered_monthly_rate",
        date=None,
        key=("row",),
    ),
}
each_loader = pytest.mark.parametrize("loader", LOADERS.values(), ids=LOADERS.keys())


def names(message: str, column: str, row: int, cell: str) -> None:
    where = f"column '{column}', row {row} ({cell})"
    assert where in message, message
    fix = message.split(where)[1]
    assert re.match(r"; \w+", fix), message


def test_every_loader_is_here() -> None:
    public = {name for name in markets.__all__ if name.startswith("read_")}
    assert public - {"read_table"} == LOADERS.keys()


@each_loader
def test_a_sound_table_is_read_and_nothing_dropped(loader: Loader, tmp_path: Path) -> None:
    read = loader.read(loader.write(tmp_path / "a.csv"))
    assert sum(read.dropped.values()) == 0


@each_loader
def test_kinds_of_file_make_no_difference(loader: Loader, tmp_path: Path) -> None:
    loader.sound.write_parquet(tmp_path / "a.parquet")
    loader.sound.write_ndjson(tmp_path / "a.jsonl")
    for path in (tmp_path / "a.parquet", tmp_path / "a.jsonl"):
        assert sum(loader.read(path).dropped.values()) == 0


@each_loader
def test_every_missing_column_is_named_with_what_was_found(loader: Loader, tmp_path: Path) -> None:
    for column in (loader.number, loader.price, loader.date):
        if column is None:
            continue
        table = loader.sound.drop(column)
        table.write_csv(tmp_path / "a.csv")
        with pytest.raises(TableError, match=r"a\.csv: no column") as error:
            loader.read(tmp_path / "a.csv")
        assert f"Found: {', '.join(table.columns)}" in str(error.value)
        assert "Rename or add the column" in str(error.value)


@each_loader
@pytest.mark.parametrize(
    ("cell", "fix"),
    [
        ("-1", ""),
        ("2,50", "write 2.50, with a decimal point"),
        ("£2.50", "remove the currency sign"),
        ("1,234.50", "without separators of thousands"),
        ("two", "give a number with a decimal point"),
        ("nan", "give a number with a decimal point"),
        ("", "fill the cell"),
    ],
)
def test_bad_prices_are_reported_and_too_many_are_an_error(
    loader: Loader, tmp_path: Path, cell: str, fix: str
) -> None:
    junk = dict.fromkeys((7, 9, 11, 13), cell or None)  # 2 % of the rows
    read = loader.read(loader.write(tmp_path / "few.csv", **{loader.price: junk}))
    assert sum(read.dropped.values()) == 4
    report = "\n".join(read.notes)
    names(report, loader.price, 7, f"{cell!r}" if cell else "empty")
    assert fix in report
    everywhere = dict.fromkeys(range(1, ROWS + 1), cell or None)
    with pytest.raises(TableError) as error:
        loader.read(loader.write(tmp_path / "all.csv", **{loader.price: everywhere}))
    names(str(error.value), loader.price, 1, f"{cell!r}" if cell else "empty")
    assert fix in str(error.value)


@each_loader
def test_more_junk_than_two_per_cent_is_an_error(loader: Loader, tmp_path: Path) -> None:
    junk = dict.fromkeys(range(50, 55), "many")
    with pytest.raises(TableError, match="5 rows of 200 cannot be used") as error:
        loader.read(loader.write(tmp_path / "a.csv", **{loader.number: junk}))
    names(str(error.value), loader.number, 50, "'many'")


@each_loader
def test_dates_in_another_format_are_named_with_the_fix(loader: Loader, tmp_path: Path) -> None:
    if loader.date is None:
        return
    other = dict.fromkeys(range(1, ROWS + 1), "31.12.2010")
    with pytest.raises(TableError, match=r"date_format='%d\.%m\.%Y'|write all dates as") as error:
        loader.read(loader.write(tmp_path / "a.csv", **{loader.date: other}))
    names(str(error.value), loader.date, 1, "'31.12.2010'")


@each_loader
def test_empty_files_headers_alone_and_other_separators_are_named(
    loader: Loader, tmp_path: Path
) -> None:
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TableError, match=r"empty\.csv cannot be read as \.csv"):
        loader.read(tmp_path / "empty.csv")
    loader.sound.clear().write_csv(tmp_path / "header.csv")
    with pytest.raises(TableError, match=r"header\.csv has a header and no rows: add row 1"):
        loader.read(tmp_path / "header.csv")
    loader.sound.write_csv(tmp_path / "semi.csv", separator=";")
    with pytest.raises(TableError, match=r"the header row .* semicolons: save the file with comma"):
        loader.read(tmp_path / "semi.csv")
    with pytest.raises(TableError, match="no such file"):
        loader.read(tmp_path / "absent.csv")


@each_loader
def test_nulls_everywhere_are_an_error_that_names_a_column(loader: Loader, tmp_path: Path) -> None:
    nothing = pl.DataFrame({name: [None] * ROWS for name in loader.sound.columns})
    nothing.write_parquet(tmp_path / "a.parquet")
    with pytest.raises(TableError, match=r"column '?[\w ]+'?, row 1 (is|\(empty\))") as error:
        loader.read(tmp_path / "a.parquet")
    assert re.search(r"fill|name it|write|nothing to do", str(error.value))


@each_loader
def test_lines_left_empty_are_no_junk(loader: Loader, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(loader.sound.write_csv() + ("," * (loader.sound.width - 1) + "\n") * ROWS)
    read, sound = loader.read(path), loader.read(_written(loader.sound, tmp_path / "b.csv"))
    assert read.dropped == {"empty rows": ROWS, **sound.dropped}
    said = f"empty rows: {ROWS} rows, first in column"
    assert any(note.startswith(said) and f"row {ROWS + 1} (empty)" in note for note in read.notes)


@each_loader
def test_two_columns_of_one_name_are_named(loader: Loader, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    header, *rows = loader.sound.write_csv().splitlines()
    path.write_text("\n".join([f"{header},{loader.price}", *(f"{row},7" for row in rows)]))
    with pytest.raises(TableError, match=f"columns '{loader.price}' and .* leave one, or rename"):
        loader.read(path)


def _written(table: pl.DataFrame, path: Path) -> Path:
    table.write_csv(path)
    return path


@each_loader
def test_rows_that_occur_twice_are_reported_or_counted_twice(
    loader: Loader, tmp_path: Path
) -> None:
    twice = pl.concat([loader.sound, loader.sound[:2]])
    twice.write_csv(tmp_path / "a.csv")
    read = loader.read(tmp_path / "a.csv")
    if loader.key:
        assert sum(read.dropped.values()) == 2
        assert "row 201" in "\n".join(read.notes)
        pl.concat([loader.sound, loader.sound]).write_csv(tmp_path / "b.csv")
        with pytest.raises(TableError, match=r"occur twice: 200 rows, first in .* row 201"):
            loader.read(tmp_path / "b.csv")
    else:
        once = loader.read(loader.write(tmp_path / "once.csv"))
        if not hasattr(read, "sales"):  # a row an event: twice is two
            assert len(read) == len(once) + 2
            return
        more = loader.sound[loader.number][:2].cast(pl.Int64).sum()
        assert read.sales["units"].sum() == once.sales["units"].sum() + more
        assert read.sales.height == once.sales.height


def test_mixed_currencies_are_named_with_their_rows(tmp_path: Path) -> None:
    loader = LOADERS["read_sales_table"]
    path = loader.write(tmp_path / "a.csv", currency={5: "EUR", 6: "EUR"})
    with pytest.raises(TableError, match="GBP 198 rows, first row 1; EUR 2 rows, first row 5"):
        loader.read(path)
    with pytest.raises(TableError, match="ISO 4217"):
        loader.read(loader.write(path, currency=dict.fromkeys(range(1, ROWS + 1), "£")))
