from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import markets
from service.tables import TableError, catalogue, listing_items, not_read, rounding, sales

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
NOON_US = int(NOON.timestamp() * 1_000_000)


def test_there_is_one_class_of_errors_and_one_way_to_read() -> None:
    import service.tables

    assert service.tables.TableError is markets.TableError
    assert service.tables.read_table is markets.read_table


def test_columns_of_a_catalogue_go_by_the_names_that_shops_give_them() -> None:
    table = pl.DataFrame(
        {"SKU": ["a"], "Product name": ["mug"], "Currency": ["GBP"], "Max Price": ["9"],
         "Cost": ["2"], "remarks": [""], "spare": pl.Series([None], dtype=pl.String)}
    )  # fmt: skip
    assert listing_items(catalogue(table, "c.csv")) == [
        {"listing_id": "a", "title": "mug", "currency": "GBP", "max_price": 9.0, "unit_cost": 2.0}
    ]


def test_a_column_that_is_no_field_is_named_once_and_may_be_left_out() -> None:
    table = markets.read_table(Path(markets.__file__).parent / "catalogue" / "listings.csv")
    others = ["family_group", "list_price", "impressions_per_day"]
    with pytest.raises(TableError, match="--leave-out 'family_group,list_price,impressions_per_d"):
        catalogue(table, "listings.csv")
    assert catalogue(table, "listings.csv", others).height == table.height == 519
    with pytest.raises(TableError, match="no column size to leave out among listing_id, title"):
        catalogue(table, "listings.csv", ["size"])


def test_a_limit_under_a_mistyped_name_does_not_go_unnoticed() -> None:
    table = pl.DataFrame({"sku": ["a"], "title": ["mug"], "currency": ["GBP"], "max_prize": ["9"]})
    with pytest.raises(TableError, match="Is 'max_prize' meant as 'max_price'"):
        catalogue(table, "c.csv")
    with pytest.raises(TableError, match="no column currency"):
        catalogue(table.drop("currency"), "c.csv")
    twice = table.drop("max_prize").with_columns(SKU=pl.lit("b"))
    with pytest.raises(TableError, match="'sku' and 'SKU' are both listing_id"):
        catalogue(twice, "c.csv")


def test_sales_go_by_the_names_that_shops_give_them_and_may_be_none() -> None:
    table = pl.DataFrame(
        {"SKU": ["a"], "Order Date": ["2026-01-31"], "Qty": ["3"], "Unit Price": ["4.5"],
         "Views": ["70"], "order": ["17"]}
    )  # fmt: skip
    found = sales(table, {"a": 100})
    assert (found.listing_id, found.price[0], found.units[0]) == (["a"], 4.5, 3)
    assert found.impressions[0] == 70
    assert not_read(table) == ["order"]
    assert sales(table.clear(), {"a": 100}).listing_id == []


def test_typed_columns_are_read_as_what_they_say() -> None:
    table = pl.DataFrame(
        {
            "listing_id": [1.0, 2.0, None],
            "title": ["mug", "bowl", "cup"],
            "currency": ["GBP"] * 3,
            "max_price": pl.Series([19.99, 0.95, None], dtype=pl.Float32),
        }
    )
    read = listing_items(catalogue(table, "c.parquet"))
    assert [row.get("listing_id") for row in read] == ["1", "2", None]
    assert [row.get("max_price") for row in read] == [19.99, 0.95, None]
    sold = pl.DataFrame(
        {
            "listing_id": [1.0, 2.0, 2.0],
            "at": [NOON] * 3,
            "price": pl.Series([19.99, 5, 6], dtype=pl.Float32),
            "units": [3, 1, 2],
        }
    )
    assert sales(sold, {"1": 100, "2": 100}).price.tolist() == [19.99, 5.0, 6.0]
    assert sales(sold, {"1": 100, "2": 100}).listing_id == ["1", "2", "2"]


@pytest.mark.parametrize(
    "price",
    [
        pl.Series([date(2026, 1, 31)]),
        pl.Series([timedelta(days=3)]),
        pl.Series([True]),
        pl.Series([[4.5]]),
        pl.Series([{"gbp": 4.5}]),
        pl.Series([b"4.5"]),
    ],
    ids=lambda price: str(price.dtype),
)
def test_what_is_no_number_is_no_price(price) -> None:
    sold = pl.DataFrame({"listing_id": ["a"], "at": [NOON], "price": price, "units": [1]})
    found = sales(sold, {"a": 100})
    assert found.listing_id == []
    assert [(e.index, e.field) for e in found.errors] == [(0, "price")]
    assert "not a price: give a number above 0, at most 1e12" in found.errors[0].message


def test_numbers_kept_as_categories_are_numbers() -> None:
    sold = pl.DataFrame(
        {"listing_id": ["a"], "at": [NOON], "price": pl.Series(["4.5"], dtype=pl.Categorical),
         "units": ["2"]}
    )  # fmt: skip
    assert sales(sold, {"a": 100}).price.tolist() == [4.5]


def test_rows_become_listings_with_numbers_where_they_are_numbers() -> None:
    table = pl.DataFrame(
        {
            "listing_id": [17, 18],
            "title": ["mug", "bowl"],
            "unit_cost": [" 2.5 ", "cheap"],
            "attributes": ['{"colour": "red"}', "no json"],
            "brand": ["", None],
            "objective": ["revenue", '{"profit": 1}'],
        }
    )
    assert listing_items(table) == [
        {"listing_id": "17", "title": "mug", "unit_cost": 2.5, "attributes": {"colour": "red"},
         "objective": "revenue"},
        {"listing_id": "18", "title": "bowl", "unit_cost": "cheap", "attributes": "no json",
         "objective": {"profit": 1}},
    ]  # fmt: skip


def test_counts_flags_and_days_are_read_from_text_and_spreadsheets():
    table = pl.DataFrame(
        {
            "listing_id": ["a", "b", "c", "d", "e"],
            "inventory": ["5", "7.0", "many", "2.5", "-3"],
            "one_unit_per_impression": ["true", "No", "1", "perhaps", ""],
            "sell_by": ["2026-12-24 00:00:00", "2026-12-24", "2026-12-24T18:00:00Z", "", ""],
        }
    )
    read = listing_items(table)
    assert [row["inventory"] for row in read] == [5, 7, "many", 2.5, -3]
    flags = [row.get("one_unit_per_impression") for row in read]
    assert flags == [True, False, True, "perhaps", None]
    days = ["2026-12-24", "2026-12-24", "2026-12-24T18:00:00Z", None, None]
    assert [row.get("sell_by") for row in read] == days
    typed = pl.DataFrame(
        {
            "listing_id": ["a", "b"],
            "inventory": [5.0, None],
            "one_unit_per_impression": [True, None],
            "sell_by": [datetime(2026, 12, 24), datetime(2026, 12, 24, 18)],
        }
    )
    assert listing_items(typed) == [
        {"listing_id": "a", "inventory": 5, "one_unit_per_impression": True,
         "sell_by": "2026-12-24"},
        {"listing_id": "b", "sell_by": datetime(2026, 12, 24, 18)},
    ]  # fmt: skip


@pytest.mark.parametrize(
    "at",
    [
        NOON,
        NOON.replace(tzinfo=None),
        "2026-01-31T12:00:00Z",
        "2026-01-31 12:00",
        "2026-01-31T12:00",
    ],
)
def test_times_are_utc_in_every_shape(at: object) -> None:
    table = pl.DataFrame({"listing_id": ["a"], "at": [at], "price": [5.0], "units": [1]})
    found = sales(table, {"a": 100})
    assert found.errors == []
    assert found.at_us.tolist() == [NOON_US]


def test_days_are_midnight_and_the_rest_is_named() -> None:
    table = pl.DataFrame(
        {
            "listing": ["a", "z"],
            "date": [date(1970, 1, 2)] * 2,
            "price": ["5", "5"],
            "units": [1, 1],
        }
    )
    found = sales(table, {"a": 100})
    assert found.at_us.tolist() == [86_400_000_000]
    assert [(e.index, e.field) for e in found.errors] == [(1, "listing_id")]
    with pytest.raises(TableError, match="no column units or quantity or qty"):
        sales(table.drop("units"), {"a": 100})


def test_times_before_1970_and_to_come_are_refused() -> None:
    now = datetime.now(UTC)
    at = [
        "1970-01-01", f"{now + timedelta(hours=23):%Y-%m-%dT%H:%M:%SZ}", "2206-01-15",
        "1969-12-31T23:59:59Z", "1906-01-15", f"{now + timedelta(hours=25):%Y-%m-%dT%H:%M:%SZ}",
        "soon",
    ]  # fmt: skip
    table = pl.DataFrame({"listing_id": "a", "at": at, "price": 5.0, "units": 1})
    found = sales(table, {"a": 100})
    assert len(found.at_us) == 2
    assert [(e.index, e.field) for e in found.errors] == [(i, "at") for i in range(2, 7)]
    assert found.errors[0].message == (
        "at is '2206-01-15': give a time from 1970 to now, or leave the row out"
    )
    assert "not a time" in found.errors[-1].message


def test_impressions_are_whole_numbers_or_unknown() -> None:
    given = [10, 10.7, 0.0, 1e13, float("nan"), float("inf"), None]
    table = pl.DataFrame(
        {"listing_id": "a", "at": "2026-01-31", "price": 5.0, "units": 1, "impressions": given},
        strict=False,
    )
    found = sales(table, {"a": 100})
    assert found.impressions[0] == 10
    assert np.isnan(found.impressions[1:]).tolist() == [True]
    assert [(e.index, e.field) for e in found.errors] == [(i, "impressions") for i in range(1, 6)]
    assert found.errors[0].message == (
        "impressions is 10.7: give a whole number of at least 1, or nothing where it is unknown"
    )


def test_empty_lines_are_passed_over_and_numbers_have_spaces() -> None:
    columns = {
        "listing_id": ["a", "", None, "b", " "],
        "at": ["2026-01-31", None, "", "soon", ""],
        "price": [" 9.99", "", " ", "9.99 ", None],
        "units": ["\t2 ", "", None, "1", ""],
        "impressions": [" 40 ", " ", None, " ", ""],
    }
    found = sales(pl.DataFrame(columns), {"a": 100, "b": 100})
    assert found.price.tolist() == [9.99]
    assert (found.units.tolist(), found.impressions.tolist()) == ([2], [40.0])
    assert [(e.index, e.field) for e in found.errors] == [(3, "at")]
    noted = pl.DataFrame({**columns, "note": ["", "gone", "", "", ""]})
    told = sales(noted, {"a": 100, "b": 100}).errors
    assert {e.index for e in told} == {1, 3}


def test_extra_columns_of_a_history_are_passed_over() -> None:
    history = markets.load_catalogue()
    table = history.sales.head(3).with_columns(pl.lit("web").alias("channel"))
    assert len(sales(table, dict.fromkeys(history.listings["listing_id"], 100)).listing_id) == 3


def test_a_price_that_rounds_to_nothing_in_its_currency_is_refused() -> None:
    per_major = {"pound": 100, "yen": 1, "dinar": 1000}
    table = pl.DataFrame(
        {
            "listing_id": ["pound", "pound", "yen", "yen", "dinar", "dinar", "pound", "?"],
            "at": ["2026-01-31"] * 8,
            "price": [0.001, 0.0051, 0.3, 0.51, 0.0005, 0.001, 0.0, 0.001],
            "units": [1] * 8,
        }
    )
    found = sales(table, per_major)
    assert found.price.tolist() == [0.0051, 0.51, 0.001]
    assert [(e.index, e.field) for e in found.errors] == [
        (0, "price"), (2, "price"), (4, "price"), (6, "price"), (7, "listing_id"),
    ]  # fmt: skip
    assert found.errors[0].message == (
        "price is 0.001: rounds to 0 in its currency: check the unit, or leave the row out"
    )
    assert sales(table, {}).listing_id == []


def test_prices_finer_than_their_currency_are_said_to_be_rounded() -> None:
    per_major = {"pound": 100, "yen": 1, "dinar": 1000}

    def said(*told: tuple[str, float]) -> str | None:
        names, prices = zip(*told, strict=True)
        table = pl.DataFrame({"listing_id": names, "price": prices, "at": "2026-01-31", "units": 1})
        return rounding(sales(table, per_major), per_major)

    exact = [("pound", 19.99), ("pound", 1e9 + 0.29), ("yen", 3.0), ("dinar", 0.001)]
    assert said(*exact) is None
    assert said(("yen", 3.5)) == (
        "1 row with a price that is no whole number of its currency's smallest unit, first 3.5 of "
        "'yen': rounded to it"
    )
    assert "2 rows with" in str(said(*exact, ("pound", 1.999), ("pound", 10 / 3)))
    assert "first 1.999 of 'pound'" in str(said(*exact, ("pound", 1.999), ("pound", 10 / 3)))


def test_prices_in_another_currency_are_refused() -> None:
    table = pl.DataFrame(
        {
            "listing_id": ["a", "a", "b", "b", "a"],
            "at": [NOON] * 5,
            "price": [5.0, 975.0, 5.0, 6.0, 7.0],
            "units": [1] * 5,
            "currency": ["GBP", "JPY", " gbp ", None, ""],
        }
    )
    found = sales(table, {"a": 100, "b": 100}, {"a": "GBP", "b": "GBP"})
    assert found.price.tolist() == [5.0, 5.0, 6.0, 7.0]
    assert [(e.index, e.field) for e in found.errors] == [(1, "currency")]
    assert (
        "currency is 'JPY': the listing has another: convert the price" in found.errors[0].message
    )


def test_our_own_name_of_a_column_goes_first() -> None:
    table = pl.DataFrame(
        {
            "date": ["1999-01-01"],
            "time": ["noon"],
            "at": ["2026-01-31"],
            "listing": ["z"],
            "listing_id": ["a"],
            "price": [5.0],
            "units": [1],
            "status": ["cancelled"],
        }
    )
    found = sales(table, {"a": 100})
    assert found.listing_id == ["a"]
    assert found.at_us[0] == NOON_US - 12 * 3600 * 1_000_000
    assert not_read(table) == ["date", "time", "listing", "status"]
    assert sales(table.drop("at", "listing_id", "time"), {"z": 100}).listing_id == ["z"]


@pytest.mark.parametrize("cell", [["mug"], b"\xff", timedelta(1)], ids=["list", "bytes", "span"])
def test_cells_without_a_text_of_their_own_are_errors_of_their_row(cell: object) -> None:
    good = {"listing_id": "mug", "at": "2026-01-31", "price": 5.0, "units": 1, "currency": "GBP"}
    for column in good:
        rows = pl.DataFrame({**{name: [value] for name, value in good.items()}, column: [cell]})
        found = sales(rows, {"mug": 100}, {"mug": "GBP"})
        assert [error.field for error in found.errors] == [column]
        assert f"{column} is {cell!r}: " in found.errors[0].message


def test_a_list_is_no_id_of_a_listing() -> None:
    rows = pl.DataFrame({"listing_id": [["mug"]], "title": ["mug"], "currency": ["GBP"]})
    assert listing_items(rows)[0]["listing_id"] == ["mug"]
