from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from markets import History, TableError, read_sales_table

NAMES = "sku,product name,date,price,quantity,views,cost,currency,promo,channel"
ROWS = [
    "a,Red mug,2026-01-01,5.00,2,40,2.0,GBP,no,web",
    "a,Red mug,2026-01-01,5.00,1,60,2.0,GBP,no,web",  # added to the first
    "a,Red mug,2026-01-01,4.00,3,50,2.0,GBP,yes,web",
    "a,Red  Mug,2026-01-02,5.00,0,30,2.5,GBP,,web",
    "b,Oak bowl,2026-01-01 10:30,9.00,1,,,GBP,no,shop",
    "b,Oak bowl,2026-01-03,9.00,-1,,,GBP,no,shop",  # returned
    "p,Postage and packing,2026-01-03,3.50,1,,,GBP,no,web",
]


def write(path: Path, rows: list[str], names: str = NAMES) -> Path:
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


@pytest.fixture
def history(tmp_path: Path) -> History:
    return read_sales_table(write(tmp_path / "shop.csv", ROWS))


def test_sales_are_summed_by_listing_time_price_promotion_and_channel(history: History) -> None:
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert history.sales.rows() == [
        ("a", first, 4.0, 3, 50, 2.0, True, "web"),
        ("a", first, 5.0, 3, 100, 2.0, False, "web"),
        ("a", second, 5.0, 0, 30, 2.5, None, "web"),
        ("b", datetime(2026, 1, 1, 10, 30, tzinfo=UTC), 9.0, 1, None, None, False, "shop"),
    ]
    assert "as an earlier row: 1 row, first row 2; units" in history.notes[-1]


def test_listings_have_their_most_frequent_texts_and_last_cost(history: History) -> None:
    columns = ("listing_id", "title", "family_group", "currency", "unit_cost", "brand")
    assert history.listings.select(columns).rows() == [
        ("a", "Red mug", "a", "GBP", 2.5, None),
        ("b", "Oak bowl", "b", "GBP", None, None),
    ]


def test_what_is_no_sale_is_dropped_and_named(history: History) -> None:
    assert {reason: n for reason, n in history.dropped.items() if n} == {
        "returned (units below zero)": 1,
        "no product (postage, fee, voucher)": 1,
    }
    assert "column 'quantity', row 6 ('-1')" in history.notes[0]
    assert "column 'product name', row 7 ('Postage and packing')" in history.notes[1]


def test_a_price_that_is_a_slip_is_dropped_and_named(tmp_path: Path) -> None:
    names = "sku,product name,date,price,quantity,currency"
    rows = [f"a,Mug,2026-01-01,{price},1,GBP" for price in range(1, 101)]
    found = read_sales_table(
        write(tmp_path / "a.csv", [*rows, rows[0].replace(",1,", ",1e300,", 1)], names)
    )
    assert found.dropped["price is above 1e12"] == 1
    assert found.sales["price"].max() == 100


@pytest.mark.parametrize(
    "title", ["Postage stamp album", "Gift card holder", "Sample book", "Fees"]
)
def test_only_a_whole_title_makes_a_charge(tmp_path: Path, title: str) -> None:
    rows = [*ROWS, f"x,{title},2026-01-01,5,1,,,GBP,,web"]
    listings = read_sales_table(write(tmp_path / "a.csv", rows)).listings
    assert (title in listings["title"].to_list()) == (title != "Fees")


def test_without_ids_the_texts_are_the_listing(tmp_path: Path) -> None:
    rows = ["Mug,Acme,2026-01-01,5,1", "Mug,Bodum,2026-01-01,6,1", "Mug,Acme,2026-01-02,5,1"]
    path = write(tmp_path / "a.csv", rows, "title,brand,date,price,units")
    history = read_sales_table(path, currency="EUR")
    assert history.listings.select("listing_id", "title", "currency").rows() == [
        ("Mug | Acme", "Mug", "EUR"),
        ("Mug | Bodum", "Mug", "EUR"),
    ]
    assert history.sales.columns == ["listing_id", "at", "price", "units", "impressions"]


def test_without_titles_the_id_is_the_title(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["17,2026-01-01,5,1"], "sku,date,price,units")
    assert read_sales_table(path, currency="EUR").listings["title"].to_list() == ["17"]


def test_other_kinds_of_file_say_the_same(tmp_path: Path, history: History) -> None:
    table = pl.read_csv(tmp_path / "shop.csv").with_columns(pl.col("promo") == "yes")
    table = table.with_columns(pl.when(pl.int_range(pl.len()) != 3).then("promo").alias("promo"))
    for ending, save in ((".parquet", table.write_parquet), (".jsonl", table.write_ndjson)):
        save(tmp_path / f"shop{ending}")
        again = read_sales_table(tmp_path / f"shop{ending}")
        assert again.sales.equals(history.sales)
        assert again.listings.equals(history.listings)


def test_one_currency_at_a_time(tmp_path: Path) -> None:
    rows = [*ROWS, "c,Tin,2026-01-01,7,1,,,eur,,web"]
    path = write(tmp_path / "a.csv", rows)
    with pytest.raises(TableError, match=r"GBP 7 rows, first row 1; EUR 1 row, first row 8"):
        read_sales_table(path)
    euros = read_sales_table(path, currency="EUR")
    assert euros.listings["listing_id"].to_list() == ["c"]
    assert euros.dropped["sold in another currency"] == 7
    with pytest.raises(ValueError, match="currency is 'euro'"):
        read_sales_table(path, currency="euro")
    bare = write(tmp_path / "b.csv", ["a,2026-01-01,7,1"], "sku,date,price,units")
    with pytest.raises(TableError, match="no column currency: add it, or pass currency="):
        read_sales_table(bare)


def test_a_second_price_list_is_noted_and_can_be_left_out(tmp_path: Path) -> None:
    rows = [
        f"m{i},Mug {i},2026-01-01,{price},1,,,GBP,,{channel}"
        for i in range(5)
        for price, channel in ((5, "trade"), (9.85, "consumer"))
    ]
    path = write(tmp_path / "a.csv", rows)
    note = read_sales_table(path).notes[-1]
    assert "5 listings are sold in several channels, in 'consumer' at a median 1.97 times" in note
    trade = read_sales_table(path, channel="trade")
    assert trade.sales["price"].unique().to_list() == [5.0]
    assert trade.dropped["sold in another channel"] == 5
    with pytest.raises(TableError, match=r"none of 10 rows is left.*'web' was asked for"):
        read_sales_table(path, channel="web")
    bare = write(tmp_path / "b.csv", ["a,2026-01-01,7,1"], "sku,date,price,units")
    with pytest.raises(TableError, match="no column channel to find 'web' in"):
        read_sales_table(bare, channel="web", currency="GBP")


def test_other_dates_are_read_when_their_format_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["a,31/01/2026,7,1"], "sku,date,price,units")
    with pytest.raises(TableError, match=r"column 'date', row 1 .*date_format='%d/%m/%Y'"):
        read_sales_table(path, currency="GBP")
    history = read_sales_table(path, currency="GBP", date_format="%d/%m/%Y")
    assert history.sales["at"][0] == datetime(2026, 1, 31, tzinfo=UTC)


def test_a_listing_is_named_by_its_id_or_its_title(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", ["2026-01-01,7,1"], "date,price,units")
    with pytest.raises(
        TableError, match=r"no column listing_id or title. Found: date, price, units"
    ):
        read_sales_table(path, currency="GBP")
