from pathlib import Path

import polars as pl
import pytest

from markets import PRICE_COLUMNS, TableError, read_price_list


def write(path: Path, names: str, rows: list[str]) -> Path:
    path.write_text("\n".join([names, *rows]) + "\n")
    return path


def test_texts_prices_and_attributes_are_read(tmp_path: Path) -> None:
    rows = ["1,Red  mug,Acme,4.50,ceramic,red,10,25", "2,Oak bowl,,9,oak,,,"]
    path = write(tmp_path / "a.csv", "sku,name,brand,price,material,colour,lines,units", rows)
    found = read_price_list(path)
    assert found.products.schema == PRICE_COLUMNS
    columns = ("listing_id", "title", "brand", "family_group", "price", "lines", "units")
    assert found.products.select(columns).rows() == [
        ("1", "Red mug", "Acme", "1", 4.5, 10.0, 25.0),
        ("2", "Oak bowl", None, "2", 9.0, None, None),
    ]
    assert found.attributes == [{"material": "ceramic", "colour": "red"}, {"material": "oak"}]
    assert "read as attributes: material, colour" in found.notes[-1]
    assert len(found) == 2


def test_a_type_of_product_groups_and_describes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "product_id,brand,product_type,shelf_price",
                 ["1,Acme,TEA BAGS,2", "2,Bell,TEA BAGS,3"])  # fmt: skip
    found = read_price_list(path)
    assert found.products["family_group"].to_list() == ["TEA BAGS", "TEA BAGS"]
    assert found.products["title"].to_list() == ["TEA BAGS", "TEA BAGS"]


def test_attributes_may_be_a_json_object(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    cells = ['{"size": 3, "colour": null}', None]
    rows = {"listing_id": ["a", "b"], "title": ["Mug", "Cup"], "price": [1.0, 2.0]}
    pl.DataFrame({**rows, "attributes": cells}).write_ndjson(path)
    assert read_price_list(path).attributes == [{"size": "3"}, {}]


def test_junk_is_dropped_and_named(tmp_path: Path) -> None:
    rows = [f"{i},Mug {i},1.5" for i in range(200)] + ["7,Mug again,2", "x,Cup,-1", "y,Cup,cheap"]
    rows += ["z,Cup,1e300"]
    found = read_price_list(write(tmp_path / "a.csv", "listing_id,title,price", rows))
    assert len(found) == 200
    assert {reason: n for reason, n in found.dropped.items() if n} == {
        "listing ids occur twice": 1,
        "price is not above zero": 1,
        "price is above 1e12": 1,
        "price cannot be read": 1,
    }
    assert any("row 202 ('-1')" in note for note in found.notes)


def test_counts_that_cannot_be_read_are_dropped_and_empty_ones_are_unknown(tmp_path: Path) -> None:
    rows = [f"{i},Mug {i},1.5,," for i in range(200)]
    rows += ['x,Cup,2,"1,200",3', "y,Cup,2,7,lots", "z,Cup,2,7,9"]
    path = write(tmp_path / "a.csv", "listing_id,title,price,lines,units", rows)
    found = read_price_list(path)
    assert found.products.select("listing_id", "lines", "units").rows()[199:] == [
        ("199", None, None),
        ("z", 7.0, 9.0),
    ]
    assert found.dropped["lines cannot be read"] == found.dropped["units cannot be read"] == 1
    assert "row 201 ('1,200'); write 1200 where" in found.notes[0]
    assert "row 202 ('lots'); give a number" in found.notes[1]
    with pytest.raises(TableError, match="2 rows of 203 cannot be used"):
        read_price_list(path, tolerance=0.001)


def test_columns_of_money_are_no_attributes(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    cells = {
        "rrp": ["GBP 5.00", "RRP: GBP 6", None],
        "was": ["5,50 euros", "6 EUR / kg", "7 Euro per piece"],
        "from": ["from £5", "6 € each", "soon"],
        "size": ["GEL 50 ML", "CUP 3 oz", "5 kg"],
        "gift": ["below £10", "boxed", "boxed"],
    }
    frame = {"sku": ["a", "b", "c"], "title": ["Mug", "Cup", "Tin"], "price": ["5", "6", "7"]}
    pl.DataFrame({**frame, **cells}).write_csv(path)
    found = read_price_list(path)
    assert [list(one) for one in found.attributes] == [["size", "gift"]] * 3
    assert "not read as attributes: rrp, was, from; most cells are money" in found.notes
    pl.DataFrame({**frame, **cells}).select("sku", "price", "rrp").write_csv(path)
    with pytest.raises(TableError, match="no column of text"):
        read_price_list(path)


def test_money_in_words_and_in_attributes_is_not_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    stated = [
        {"colour": "red", "rrp": n + 0.5, "Unit price": str(n), "deal": f"GBP {n}.00", "size": n}
        for n in (4, 5, 6)
    ]
    frame = {
        "sku": ["a", "b", "c"],
        "title": ["Mug", "Cup", "Tin"],
        "price": [4, 5, 6],
        "till": ["GBP 4.00 incl. VAT", "GBP 5.00 (excl. tax)", "6.00 EUR, plus VAT"],
        "make": ["GEL 50 ML", "CUP 30 exotic", "TOP 10 extra large"],
        "attributes": stated,
    }
    pl.DataFrame(frame).write_ndjson(path)
    found = read_price_list(path)
    assert found.attributes[0] == {"colour": "red", "size": "4", "make": "GEL 50 ML"}
    said = "not read as attributes: till, Unit price, deal, rrp; most cells are money"
    assert said in found.notes


@pytest.mark.parametrize(
    "written", ["RRP {}", "{} incl. VAT", "was {}", "{}/pc", "under {} pounds", "{} - {} GBP"]
)
def test_numbers_that_follow_the_price_are_money_however_written(
    tmp_path: Path, written: str
) -> None:
    path = tmp_path / "a.csv"
    prices = [round(1.3**i, 2) for i in range(20)]
    frame = {
        "sku": [f"p{i}" for i in range(20)],
        "title": ["Mug"] * 20,
        "price": [str(price) for price in prices],
        "note": [written.format(round(price * 1.2, 2), price) for price in prices],
        "size": [f"{100 + i % 7} ml" for i in range(20)],
        "weight": [f"{40 * price:.0f} grams" for price in prices],
    }
    pl.DataFrame(frame).write_csv(path)
    found = read_price_list(path)
    assert found.attributes[3] == {"size": "103 ml", "weight": f"{40 * prices[3]:.0f} grams"}
    assert "not read as attributes: note; most cells are money" in found.notes


def test_several_currencies_need_a_choice(tmp_path: Path) -> None:
    rows = ["a,Mug,1,EUR", "b,Cup,2,USD"]
    path = write(tmp_path / "a.csv", "listing_id,title,price,currency", rows)
    with pytest.raises(
        TableError, match=r"names several \(EUR, USD\), row 2 is 'USD'.*--currency EUR"
    ):
        read_price_list(path)
    assert read_price_list(path, currency="USD").products["listing_id"].to_list() == ["b"]
    with pytest.raises(ValueError, match="currency is 'usd': give an ISO 4217"):
        read_price_list(path, currency="usd")


@pytest.mark.parametrize(
    ("names", "rows", "said"),
    [
        ("listing_id,title", ["a,Mug"], "no column price or shelf_price"),
        ("listing_id,price", ["a,1"], "no column of text. Found: listing_id, price"),
        ("listing_id,title,price", ["a,Mug,-1"], "price"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, names: str, rows: list[str], said: str) -> None:
    with pytest.raises(TableError, match=said):
        read_price_list(write(tmp_path / "a.csv", names, rows))
