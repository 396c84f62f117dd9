import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from xml.sax.saxutils import escape

import polars as pl
import pytest

from markets import History, TableError, read_online_retail

UCI = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
]
II = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID"]
SNAKE = "invoice stock_code description quantity invoice_date unit_price customer_id country"
UK = "United Kingdom"
DAY = datetime(2010, 12, 1, 8, 26)
LATER = datetime(2010, 12, 13, 15, 5)

# One row for every rule, around four products that stay.
ROWS = [
    ("536365", "85123A", "WHITE  HANGING HEART ", 6, DAY, 2.55, "17850", UK),
    ("536366", "85123A", "WHITE HANGING HEART", 2, DAY, 2.55, "17851", UK),
    ("536366", "85123A", "CREAM HANGING HEART", 1, LATER, 2.95, "17851", UK),
    ("536367", "85123A", "WHITE HANGING HEART", 1, LATER, 5.79, None, UK),  # consumer list
    ("536368", "85123B", "RED HANGING HEART", 1, DAY, 5.79, None, UK),  # has no other: stays
    ("536369", "22423", "REGENCY CAKESTAND 3 TIER", 80, DAY, 12.75, "13000", UK),  # taken back
    ("C536370", "22423", "REGENCY CAKESTAND 3 TIER", -80, LATER, 12.75, "13000", UK),
    ("536371", "22423", "REGENCY CAKESTAND 3 TIER", 2, LATER, 12.75, "13000", UK),
    ("536372", "21755", "Box 125g of Love", 9, DAY, 4.0, "13001", UK),  # its only line, back
    ("C536373", "21755", "Box 125g of Love", -9, LATER, 4.0, "13001", UK),
    ("A563185", "B", "Adjust bad debt", 1, DAY, 11062.06, None, UK),
    ("536374", "POST", "POSTAGE", 3, DAY, 18.0, "12583", "France"),
    ("536375", "22139", None, -20, DAY, 0.0, None, UK),
    ("536376", "22139", "amazon", 20, DAY, 0.0, None, UK),
]
DROPPED = {
    "cancellation (invoice number begins with C)": 2,
    "adjustment (invoice number does not begin with a digit)": 1,
    "stock code does not begin with five digits (postage, fees, samples, vouchers)": 1,
    "quantity cannot be read": 0,
    "price cannot be read": 0,
    "date cannot be read": 0,
    "quantity is not above zero": 1,
    "price is not above zero": 1,
    "line is on an earlier sheet, too": 0,
    "consumer price list (no customer id) where trade prices are known": 1,
    "sale taken back in full by a later cancellation": 1,
}


def us_date(at: datetime) -> str:
    return f"{at.month}/{at.day}/{at.year} {at.hour}:{at.minute:02}"


def write_csv(path: Path, names: list[str], date: object, rows: list[tuple] = ROWS) -> Path:
    lines = [",".join(names)]
    for row in rows:
        cells = [*row[:4], date(row[4]), *row[5:]][: len(names)]
        lines.append(",".join("" if cell is None else str(cell) for cell in cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def write_xlsx(path: Path, sheets: dict[str, list[tuple]], names: list[str]) -> Path:
    """The least that a spreadsheet program would accept, dates and numbers as such."""

    def cell(value: object) -> str:
        if value is None:
            return "<c/>"
        if isinstance(value, datetime):
            return f'<c s="1"><v>{(value - datetime(1899, 12, 30)).total_seconds() / 86400}</v></c>'
        # Excel keeps all-digit codes as numbers.
        if isinstance(value, int | float) or value.isdigit():
            return f"<c><v>{value}</v></c>"
        return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(value)}</t></is></c>'

    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    main = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    package = "http://schemas.openxmlformats.org/package/2006"
    numbered = list(enumerate(sheets, start=1))
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"><Default Extension="rels" '
        'ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{office}"><sheets>'
        + "".join(f'<sheet name="{name}" sheetId="{i}" r:id="s{i}"/>' for i, name in numbered)
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships">'
        + "".join(
            f'<Relationship Id="s{i}" Type="{office}/worksheet" Target="worksheets/{i}.xml"/>'
            for i, _ in numbered
        )
        + f'<Relationship Id="y" Type="{office}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet {main}><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    for i, name in numbered:
        rows = [tuple(names), *(row[: len(names)] for row in sheets[name])]
        body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
        parts[f"xl/worksheets/{i}.xml"] = (
            f"<worksheet {main}><sheetData>{body}</sheetData></worksheet>"
        )
    with zipfile.ZipFile(path, "w") as book:
        for name, text in parts.items():
            book.writestr(name, text)
    return path


def write_parquet(path: Path, rows: list[tuple] = ROWS) -> Path:
    pl.DataFrame(rows, schema=SNAKE.split(), orient="row").write_parquet(path)
    return path


def dialects(folder: Path) -> dict[str, Path]:
    half = len(ROWS) // 2
    return {
        "UCI csv, month first": write_csv(folder / "us.csv", UCI, us_date),
        "UCI csv, two-digit years": write_csv(
            folder / "short.csv", UCI, lambda at: us_date(at).replace("/2010", "/10")
        ),
        "UCI csv, ISO dates": write_csv(folder / "iso.csv", UCI, datetime.isoformat),
        "csv of II, spaced ISO dates": write_csv(folder / "ii.csv", II, str),
        "csv, day first": write_csv(folder / "uk.csv", UCI, "{0:%d/%m/%Y %H:%M}".format),
        "UCI xlsx": write_xlsx(folder / "uci.xlsx", {"Online Retail": ROWS}, UCI),
        "xlsx of II, two sheets": write_xlsx(
            folder / "ii.xlsx", {"Year 2009-2010": ROWS[:half], "Year 2010-2011": ROWS[half:]}, II
        ),
        "parquet, renamed": write_parquet(folder / "renamed.parquet"),
    }


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> dict[str, History]:
    folder = tmp_path_factory.mktemp("dialects")
    return {name: read_online_retail(path) for name, path in dialects(folder).items()}


def test_every_dialect_gives_the_same_history(read: dict[str, History]) -> None:
    reference = read["parquet, renamed"]
    for name, history in read.items():
        assert history.listings.equals(reference.listings), name
        assert history.sales.equals(reference.sales), name
        assert history.dropped == DROPPED, name


def test_listings_are_what_is_left(read: dict[str, History]) -> None:
    listings = read["parquet, renamed"].listings
    assert listings.select("listing_id", "title", "family_group").rows() == [
        ("21755", "Box 125g of Love", "21755"),
        ("22423", "Regency cakestand 3 tier", "22423"),
        ("85123A", "White hanging heart", "85123"),
        ("85123B", "Red hanging heart", "85123"),
    ]
    assert set(listings["currency"]) == {"GBP"}
    unrecorded = listings.select("description", "category", "brand", "unit_cost")
    assert set(unrecorded.null_count().row(0)) == {4}


def test_sales_are_summed_by_listing_day_and_price(read: dict[str, History]) -> None:
    first, second = datetime(2010, 12, 1, tzinfo=UTC), datetime(2010, 12, 13, tzinfo=UTC)
    assert read["parquet, renamed"].sales.rows() == [
        ("21755", first, 4.0, 9, None, "trade"),
        ("22423", second, 12.75, 2, None, "trade"),
        ("85123A", first, 2.55, 8, None, "trade"),
        ("85123A", second, 2.95, 1, None, "trade"),
        ("85123B", first, 5.79, 1, None, "consumer"),
    ]


def test_a_cancellation_takes_back_one_earlier_line_only(tmp_path: Path) -> None:
    def line(invoice: str, units: int, at: datetime) -> tuple:
        return (invoice, "22423", "CAKESTAND", units, at, 12.75, "13000", UK)

    rows = [
        line("1", 5, DAY),
        line("2", 5, DAY.replace(day=2)),
        line("C3", -5, DAY.replace(day=3)),  # takes back invoice 2, the last before it
        line("C4", -4, DAY.replace(day=3)),  # matches nothing
        line("5", 5, DAY.replace(day=4)),  # came after
    ]
    history = read_online_retail(write_parquet(tmp_path / "back.parquet", rows))
    assert [at.day for at in history.sales["at"]] == [1, 4]
    rows.insert(4, line("C6", -5, DAY.replace(day=3, hour=20)))  # and this one invoice 1
    rows.insert(5, line("C7", -5, DAY.replace(day=3, hour=21)))  # and this one nothing
    history = read_online_retail(write_parquet(tmp_path / "again.parquet", rows))
    assert [at.day for at in history.sales["at"]] == [4]


def test_codes_with_letters_survive_a_sheet_that_begins_with_numbers(tmp_path: Path) -> None:
    rows = [(str(536365 + i), "22423", *ROWS[5][2:]) for i in range(1200)]
    path = write_xlsx(tmp_path / "long.xlsx", {"Online Retail": [*rows, ROWS[0], ROWS[6]]}, UCI)
    history = read_online_retail(path)
    assert history.listings["listing_id"].to_list() == ["22423", "85123A"]
    assert next(iter(history.dropped.values())) == 1


def test_invoices_that_are_on_two_sheets_count_once(tmp_path: Path) -> None:
    shared = [("536365", "85123A", "HEART", 6, DAY, 2.55, "17850")] * 2  # scanned twice
    sheets = {
        "Year 2009-2010": [("536300", *ROWS[0][1:7]), *shared],
        "Year 2010-2011": [*shared, ("540000", *ROWS[0][1:7])],
    }
    path = write_xlsx(tmp_path / "ii.xlsx", sheets, II)
    history = read_online_retail(path)
    assert history.sales["units"].sum() == 4 * 6
    assert history.dropped["line is on an earlier sheet, too"] == 2
    assert "2 rows, first in column 'Invoice', row 4 ('536365')" in history.notes[0]


def test_an_invoice_that_goes_on_on_another_sheet_is_kept(tmp_path: Path) -> None:
    first = [("536365", *ROWS[0][1:7])] * 3
    later = [("536365", "22423", *ROWS[0][2:7])] * 3
    path = write_xlsx(tmp_path / "ii.xlsx", {"one": first, "two": later}, II)
    history = read_online_retail(path)
    assert history.sales["units"].sum() == 6 * ROWS[0][3]
    assert history.dropped["line is on an earlier sheet, too"] == 0


def days_of(folder: Path, dates: pl.Series) -> list[datetime]:
    line = pl.DataFrame([ROWS[0]] * len(dates), schema=SNAKE.split(), orient="row")
    line.with_columns(dates.alias("invoice_date")).write_parquet(folder / "days.parquet")
    return read_online_retail(folder / "days.parquet").sales["at"].to_list()


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_days_are_those_of_the_shops_clock(tmp_path: Path, unit: str) -> None:
    night = pl.Series([datetime(2011, 6, 15, 0, 30)], dtype=pl.Datetime(unit))
    day = [datetime(2011, 6, 15, tzinfo=UTC)]
    assert days_of(tmp_path, night) == day
    assert days_of(tmp_path, night.dt.replace_time_zone("Europe/London")) == day
    assert days_of(tmp_path, night.dt.date()) == day


@pytest.mark.parametrize("number", [1291191960, 1291191960000, 40513.35])
def test_numbers_are_no_dates(tmp_path: Path, number: float) -> None:
    with pytest.raises(TableError, match=r"date cannot be read: 1 row, .*write all dates as 2010"):
        days_of(tmp_path, pl.Series([number]))


def test_what_cannot_be_read_is_counted_and_shown(tmp_path: Path) -> None:
    rows = [
        *[ROWS[0]] * 97,
        ("536367", "85123A", "X", "six", DAY, 2.55, "17850", UK),
        ("536367", "85123A", "X", 6, DAY, "nan", "17850", UK),
    ]
    path = write_csv(tmp_path / "junk.csv", UCI, us_date, rows)
    path.write_text(path.read_text() + "536367,85123A,X,6,soon,2.55,17850,UK\n")
    history = read_online_retail(path, tolerance=0.03)
    words = ("quantity", "price", "date")
    assert [history.dropped[f"{word} cannot be read"] for word in words] == [1, 1, 1]
    assert "1 row, first in column 'Quantity', row 98 ('six')" in history.notes[0]
    with pytest.raises(TableError, match=r"3 rows of 100 cannot be used.*row 100 \('soon'\)"):
        read_online_retail(path)


def test_a_discount_for_quantity_is_a_channel_of_its_own(tmp_path: Path) -> None:
    def line(units: int, price: float, day: int) -> tuple:
        return ("536365", "22423", "CAKESTAND", units, DAY.replace(day=day), price, "13000", UK)

    rows = [
        *(line(4, 12.75, day) for day in range(1, 8)),
        line(100, 10.95, 8),  # many and cheaper
        line(100, 12.75, 9),  # many at the usual price
        line(4, 10.95, 10),  # cheaper, but no more than usual
        line(100, 10.95, 10),  # the day's row holds an ordinary line too
    ]
    history = read_online_retail(write_parquet(tmp_path / "breaks.parquet", rows))
    channels = dict(history.sales.select(pl.col("at").dt.day(), "channel").iter_rows())
    assert [day for day, name in channels.items() if name == "trade, large quantity"] == [8]
    assert set(channels.values()) == {"trade", "trade, large quantity"}
    assert history.notes[-1].startswith("2 lines (18.2% of those kept, 60% of units)")


def test_latin_1_is_read(tmp_path: Path) -> None:
    rows = [(*ROWS[0][:2], "VOUCHER £5", *ROWS[0][3:])]
    path = write_csv(tmp_path / "latin.csv", UCI, us_date, rows)
    path.write_bytes(path.read_text().encode("iso-8859-1"))
    assert read_online_retail(path).listings["title"].to_list() == ["Voucher £5"]


def test_a_product_without_any_description_is_called_by_its_code(tmp_path: Path) -> None:
    rows = [(*ROWS[0][:2], None, *ROWS[0][3:])]
    history = read_online_retail(write_csv(tmp_path / "mute.csv", UCI, us_date, rows))
    assert history.listings["title"].to_list() == ["85123A"]


def test_missing_columns_are_named_with_what_was_found(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("StockCode,Description,Quantity,Date\n85123A,X,1,2010-12-01\n")
    with pytest.raises(TableError, match=r"other\.csv: no column InvoiceNo or Invoice") as error:
        read_online_retail(path)
    message = str(error.value)
    for missing in ("InvoiceDate", "UnitPrice or Price", "CustomerID"):
        assert missing in message
    assert "Found: StockCode, Description, Quantity, Date" in message
    assert "Rename or add the column" in message


def test_a_file_without_a_valid_sale_says_why(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "returns.parquet", [ROWS[6]])
    with pytest.raises(TableError, match=r"none of 1 row is left.*begins with C\): 1 row, first"):
        read_online_retail(path)


def test_the_real_file(online_retail_path: Path) -> None:
    start = time.perf_counter()
    history = read_online_retail(online_retail_path)
    seconds = time.perf_counter() - start
    # The whole file has more products; a part of it is at hand.
    assert history.listings.height == 3013
    assert history.listings["family_group"].n_unique() < 3013
    assert history.listings["title"].str.len_chars().min() >= 3
    assert not history.listings["title"].str.contains(r"^\d+[A-Za-z]*$").any()
    assert list(history.dropped.values()) == [
        7441, 0, 2408, 0, 0, 0, 1033, 909, 0, 101033, 2144,
    ]  # fmt: skip
    assert history.sales.height == 186_974
    # lines with a discount for quantity: 4.2 % of lines, 33 % of units
    assert history.notes[-1].startswith("13101 lines (4.2% of those kept, 33% of units)")
    assert history.sales.filter(pl.col("channel") == "trade, large quantity").height == 11_099
    # a median over units is a discounted price for 13.4 % of products
    ordinary = history.sales.filter(pl.col("channel") != "trade, large quantity")
    levels = half_sold(history.sales).join(half_sold(ordinary), on="listing_id")
    assert levels.height == 3013
    ratio = levels["price_right"] / levels["price"]
    assert (ratio != 1).mean() == pytest.approx(0.134, abs=0.001)
    assert ratio.filter(ratio != 1).median() == pytest.approx(1.18, abs=0.01)
    assert seconds < 5


def half_sold(sales: pl.DataFrame) -> pl.DataFrame:
    """Median price over units, by listing."""
    units = pl.col("units")
    reached = units.cum_sum().over("listing_id") * 2 >= units.sum().over("listing_id")
    rows = sales.sort("listing_id", "price").filter(reached)
    return rows.group_by("listing_id").agg(pl.col("price").first())
