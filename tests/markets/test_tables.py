from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from markets import TableError, read_table
from markets.checks import (
    Rule,
    check_unique,
    number_fix,
    sift,
    time_fix,
    to_numbers,
    to_text,
    to_times,
)
from markets.tables import choose_columns

TABLE = pl.DataFrame({"id": ["a", "b"], "title": ["café £5", "tin"], "price": ["2.5", "3"]})


def refused(path: Path, words: str) -> None:
    with pytest.raises(TableError, match=words):
        read_table(path)


def test_every_kind_of_file_gives_the_same_table(tmp_path: Path) -> None:
    text = TABLE.write_csv()
    (tmp_path / "utf8.csv").write_text(text, encoding="utf-8")
    (tmp_path / "mark.csv").write_text(text, encoding="utf-8-sig")
    (tmp_path / "latin.csv").write_text(text, encoding="iso-8859-1")
    (tmp_path / "UPPER.CSV").write_text(text, encoding="utf-8")
    TABLE.write_parquet(tmp_path / "a.parquet")
    TABLE.write_ndjson(tmp_path / "a.jsonl")
    TABLE.write_ndjson(tmp_path / "a.ndjson")
    for path in tmp_path.iterdir():
        assert read_table(path).equals(TABLE), path.name
        assert read_table(str(path)).equals(TABLE), path.name


def test_windows_1252_is_read_and_what_is_none_is_latin_1(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"id,title\n1,Women\x92s cup \xa35\n")
    assert read_table(path)["title"].to_list() == ["Women’s cup £5"]
    path.write_bytes(b"id,title\n1,cup\x81 \xa35\n")  # no character of Windows-1252
    assert read_table(path)["title"].to_list() == ["cup\x81 £5"]


def test_json_lines_keep_types_and_late_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n' * 200 + '{"a": 1.5, "b": {"c": "x"}}\n')
    table = read_table(path)
    assert table.schema["a"] == pl.Float64
    assert table["b"][200] == {"c": "x"}


def test_what_is_no_table_is_refused_with_the_fix(tmp_path: Path) -> None:
    refused(tmp_path / "absent.csv", "absent.csv: no such file")
    refused(tmp_path, "is a folder: give the file in it")
    for name in ("empty.csv", "empty.parquet", "empty.jsonl", "empty.xlsx", "broken.parquet"):
        (tmp_path / name).write_bytes(b"" if name.startswith("empty") else b"neither")
        refused(tmp_path / name, f"{name} cannot be read as")
    (tmp_path / "broken.jsonl").write_text("{")
    refused(tmp_path / "broken.jsonl", "broken.jsonl cannot be read as")
    (tmp_path / "a.txt").write_text("a")
    refused(tmp_path / "a.txt", r"give a file that ends in .csv, .*\.xlsx.* not '\.txt'")
    (tmp_path / "wide.csv").write_text("id,price\n1,2", encoding="utf-16")
    refused(tmp_path / "wide.csv", "save it in UTF-8")


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_other_separators_are_named(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(TABLE.write_csv(separator=separator))
    refused(path, "a.csv: the header row id.title.price is separated by .*: save the file with")


def test_a_row_with_too_many_cells_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,price\na,2.5\nb,3,50\n")
    refused(path, "a.csv: row 2 has more cells than the header: .*decimal point")


@pytest.mark.parametrize("cell", ['15" screen', '"15" screen"', '"Mug, 15" wide"', '""A"" x', '"x'])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_a_row_with_a_stray_quote_is_named(tmp_path: Path, cell: str, mark: str) -> None:
    path = tmp_path / "a.csv"
    sound = f'{mark}"id",title\r\na,"two\r\nlines, 15"" wide"\r\n\r\nb,""\r\n'
    path.write_text(sound, newline="")
    assert read_table(path)["title"][0] == 'two\r\nlines, 15" wide'
    path.write_text(f"{sound}c,{cell}\r\nd,17\r\n", newline="")
    refused(path, r'a.csv: row 4 has a stray double quote: .*"15"" screen"')


def test_categories_of_a_file_are_text(tmp_path: Path) -> None:
    kinds = {"id": pl.Categorical, "title": pl.Enum(["café £5", "tin"]), "price": pl.Categorical}
    TABLE.cast(kinds).write_parquet(tmp_path / "a.parquet")
    read = read_table(tmp_path / "a.parquet")
    assert read.equals(TABLE)
    assert read.schema == TABLE.schema  # `equals` takes a category for its text


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_stray_byte_does_not_turn_a_whole_file_into_another(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"p{i},Caf\u00e9 cr\u00e8me {i} \u20ac\n" for i in range(50)).encode()
    path.write_bytes(mark + b"id,title\n" + rows + b"px,Caf\xe9\npy,Tea\n")
    refused(path, r"a\.csv: row 51 is not in UTF-8 as the rest is: save the whole file in it")
    path.write_bytes(mark + b"id,title\n" + rows)
    assert read_table(path)["title"][1] == "Caf\u00e9 cr\u00e8me 1 \u20ac"
    path.write_bytes("id,title\na,Caf\u00e9 \u00a35\nb,cr\u00e8me\n".encode("cp1252"))
    assert read_table(path)["title"].to_list() == ["Caf\u00e9 \u00a35", "cr\u00e8me"]


def test_columns_are_found_under_other_names_and_put_in_order() -> None:
    table = pl.DataFrame({"Unit Price": [1], "Stock-Code": ["a"], "more": [0]})
    names = {"listing_id": ("stock_code",), "price": ("unit_price",), "units": ("quantity",)}
    chosen = choose_columns(table, names, "a.csv", ["units"])
    assert chosen.columns == ["listing_id", "price"]
    with pytest.raises(TableError, match=r"a.csv: no column units or quantity. Found: Unit Price"):
        choose_columns(table, names, "a.csv")


def test_our_own_name_goes_first_and_a_slip_is_suggested() -> None:
    table = pl.DataFrame({"unit_price": [1], "price": [2]})
    assert choose_columns(table, {"price": ("unit_price",)}, "t").rows() == [(2,)]
    with pytest.raises(TableError, match="Is 'prise' meant as 'price'"):
        choose_columns(table.select(prise="price"), {"price": ("unit_price",)}, "t")
    # a column that has its place is not meant as another
    with pytest.raises(TableError, match=r"Found: title. Rename"):
        choose_columns(pl.DataFrame({"title": ["a"]}), {"title": (), "at": ("time",)}, "t")
    with pytest.raises(TableError, match="t has a header and no rows"):
        choose_columns(table.clear(), {"price": ()}, "t")


def test_text_numbers_and_times_are_read_or_null() -> None:
    assert to_text(pl.Series([" a ", "", "17.0", None])).to_list() == ["a", None, "17", None]
    cells = pl.Series([" 2.5", "2,5", "£3", "nan", "1e3", "", "inf", "1,234.50", None])
    assert to_numbers(cells).drop_nulls().to_list() == [2.5, 1000.0]
    assert to_numbers(pl.Series([1.0, float("nan")])).to_list() == [1.0, None]
    noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    for cell in ("2026-01-31 12:00", "2026-01-31T12:00:00Z", "2026-01-31T13:00:00.0+01:00"):
        assert to_times(pl.Series([cell]))[0] == noon, cell
    day = datetime(2026, 1, 31, tzinfo=UTC)
    assert to_times(pl.Series(["2026-01-31", "31/01/2026", "soon", None])).to_list() == [
        day, None, None, None,
    ]  # fmt: skip
    assert to_times(pl.Series(["31/01/2026", "1/2/10"]), "%d/%m/%Y").to_list() == [day, None]
    assert to_times(pl.Series([date(2026, 1, 31)]))[0] == day
    assert to_times(pl.Series([20260131])).to_list() == [None]


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("2,50", "write 2.50, with a decimal point"),
        ("£3", "remove the currency sign"),
        ("1,234.50", "without separators of thousands"),
        ("1,200", "write 1200 where the comma separates thousands, else 1.200"),
        ("0,125", "write 0.125, with a decimal point"),
        ("six", "give a number"),
        ("", "fill the cell"),
        (None, "fill the cell"),
    ],
)
def test_the_fix_of_a_number_fits_the_cell(cell: object, words: str) -> None:
    assert words in number_fix(cell)


def test_the_fix_of_a_date_names_every_format_that_would_read_it() -> None:
    assert time_fix("31/01/2026").endswith("or pass date_format='%d/%m/%Y'")
    assert time_fix("01/02/2026").endswith("'%d/%m/%Y' or '%m/%d/%Y'")
    assert time_fix("soon") == "write 2026-01-31 or 2026-01-31T12:00:00Z"


def test_rows_are_counted_under_the_first_rule_they_break() -> None:
    raw = pl.DataFrame({"n": ["1", "x", "-2", "3"]})
    read = pl.DataFrame({"n": to_numbers(raw["n"])})
    rules = [
        Rule("below zero", "n", (pl.col("n") < 0).fill_null(False), "leave it", junk=False),
        Rule("no number", "n", pl.col("n") < -9, number_fix),  # null counts as broken
        Rule("large", "n", pl.col("n") > 9, "split it"),
    ]
    sifted = sift(raw, read, rules, "t", 0.25, {"n": "N"})
    assert sifted.rows.to_dict(as_series=False) == {"row": [1, 4], "n": [1.0, 3.0]}
    assert sifted.dropped == {"below zero": 1, "no number": 1, "large": 0}
    assert sifted.notes == (
        "below zero: 1 row, first in column 'N', row 3 ('-2'); leave it.",
        "no number: 1 row, first in column 'N', row 2 ('x'); give a number with a decimal point.",
    )
    with pytest.raises(TableError, match=r"t: 1 row of 4 cannot be used.*tolerance of 24.0%.*'x'"):
        sift(raw, read, rules, "t", 0.24)
    with pytest.raises(ValueError, match="tolerance is 2"):
        sift(raw, read, rules, "t", 2)


def test_a_key_that_occurs_twice_is_named_by_row() -> None:
    table = pl.DataFrame({"store": [1, 1, 1], "week": [1, 2, 1]})
    check_unique(table[:2], ["store", "week"], "t")
    with pytest.raises(TableError, match=r"t: row 3 has store 1, week 1, .*1 such rows"):
        check_unique(table, ["store", "week"], "t")
