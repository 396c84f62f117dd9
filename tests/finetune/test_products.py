from dataclasses import replace

import numpy as np
import pytest

from finetune import read_products
from finetune.products import KNOWN_LINES, NAMES
from markets import TableError

RETAIL = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"


def written(path, head, rows):
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.fixture
def retail(tmp_path):
    """Two variants of a mug, six invoices with both; a bowl sold twice."""
    rows = []
    for i in range(6):
        for code, price, units in (("10001A", 2.0, 1 + i % 2), ("10001B", 4.0, 1)):
            rows.append(
                f"{500 + i},{code},RED MUG {code[-1]},{units},2011-01-0{i + 1} 10:00,{price},7,UK"
            )
    rows += [f"{600 + i},20002,OAK BOWL,1,2011-01-0{i + 1} 11:00,{8 + i},7,UK" for i in range(2)]
    return written(tmp_path / "retail.csv", RETAIL, rows)


def test_online_retail_gives_levels_groups_and_baskets(retail):
    products = read_products(retail)
    assert products.names == NAMES
    assert products.listing_id == ["10001A", "10001B", "20002"]
    assert products.group.tolist() == ["10001", "10001", "20002"]
    price, demand, units, response = products.target.T
    assert np.isnan(response).all()  # nobody counted impressions
    assert price == pytest.approx([np.log(2), np.log(4), (np.log(8) + np.log(9)) / 2])
    assert demand[:2] == pytest.approx(np.log(6))
    assert np.isnan(demand[2])  # below KNOWN_LINES
    assert units == pytest.approx([np.log(2) / 2, 0, 0])
    assert products.lines.tolist() == [6, 6, 2]
    assert products.median_log_price[2] == pytest.approx(np.log(8.5))


def test_trust_grows_with_lines_and_is_nothing_where_nothing_is_known(retail):
    weight = read_products(retail).weight
    assert weight[:, 0] == pytest.approx([6 / 11, 6 / 11, 2 / 7])
    assert weight[:, 1].tolist() == [1, 1, 0]
    assert weight[:, 3].tolist() == [0, 0, 0]
    assert KNOWN_LINES == 5


def test_a_table_in_which_nothing_was_sold_says_so(tmp_path):
    head = "sku,title,date,price,units,currency,impressions"
    nothing = written(tmp_path / "s.csv", head, ["a,Tin,2026-01-01,4,0,EUR,200"])
    with pytest.raises(TableError, match=r"s\.csv: no row has units above 0"):
        read_products(nothing)


def test_a_table_of_sales_and_a_price_list_are_told_by_their_columns(tmp_path):
    sales = written(
        tmp_path / "sales.csv",
        "sku,title,date,price,units,currency,order",
        [f"a,Tin,2026-01-0{i + 1},5,2,EUR,o{i}" for i in range(6)] + ["b,Cup,2026-01-01,7,0,EUR,"],
    )
    sold = read_products(sales)
    assert sold.listing_id == ["a"]  # what never sold says nothing
    assert np.exp(sold.target[0, :3]) == pytest.approx([5, 6, 2])
    listed = read_products(
        written(
            tmp_path / "list.csv",
            "product_id,department,brand,product_type,package_size,shelf_price,lines,units",
            ["1,GROCERY,Acme,TEA BAGS,20 CT,2.50,12,24", "2,GROCERY,Acme,TEA BAGS,40 CT,4.00,3,3"],
        )
    )
    assert listed.group.tolist() == ["TEA BAGS", "TEA BAGS"]
    assert np.exp(listed.target[:, 0]) == pytest.approx([2.5, 4.0])
    assert np.exp(listed.target[0, 1:3]) == pytest.approx([12, 2])
    assert np.isnan(listed.target[1, 1])
    assert "TEA BAGS" in listed.text[0]
    assert "20 CT" in listed.text[0]
    assert not len(listed.together)


def test_responses_come_from_impressions_at_several_prices(tmp_path):
    rows = [
        f"a,Tin,2026-01-{i + 1:02d},{price},{units},EUR,200"
        for i, (price, units) in enumerate([(4, 40), (5, 30), (6, 22), (5, 31)])
    ] + ["b,Cup,2026-01-01,7,3,EUR,50", "b,Cup,2026-01-02,7,4,EUR,50"]
    products = read_products(
        written(tmp_path / "s.csv", "sku,title,date,price,units,currency,impressions", rows)
    )
    assert 1 < products.target[0, 3] < 2
    assert 0 < products.weight[0, 3] < 1
    assert np.isnan(products.target[1, 3])
    assert products.weight[1, 3] == 0


def test_rows_can_be_taken_and_pairs_go_with_them(retail):
    products = read_products(retail)
    assert len(products.together) == 0  # in every order: no surprise
    tied = products.take([2, 0])
    assert tied.listing_id == ["20002", "10001A"]
    np.testing.assert_allclose(tied.target[1], products.target[0])
    with pytest.raises(ValueError, match="mask of shape"):
        products.take(np.ones(2, bool))
    with pytest.raises(ValueError, match="rows has 0 to 3: give 0 to 2"):
        products.take([0, 3])
    with pytest.raises(ValueError, match="names a product twice"):
        products.take([1, 1])


def test_one_text_in_a_group_is_one_product_and_what_is_known_adds_up(tmp_path):
    head = "product_id,product_type,brand,shelf_price,lines,units"
    products = read_products(
        written(
            tmp_path / "list.csv",
            head,
            ["1,TEA,Acme,2,5,5", "2,TEA,Acme,8,15,15", "3,TEA,Best,4,5,5", "4,SOAP,Acme,1,5,5"],
        )
    )
    distinct = products.distinct()
    assert distinct.listing_id == ["1", "3", "4"]
    assert distinct.lines.tolist() == [20, 5, 5]
    # 5 lines at 2 and 15 at 8, as 20 lines at their mean
    assert np.exp(distinct.target[:, 0]) == pytest.approx([2 ** (1 / 4) * 8 ** (3 / 4), 4, 1])
    assert distinct.weight[:, 0] == pytest.approx([20 / 25, 1 / 2, 1 / 2])
    assert np.exp(distinct.median_log_price[0]) == pytest.approx(2 ** (1 / 4) * 8 ** (3 / 4))
    assert distinct.distinct() is distinct


def test_pairs_of_one_text_speak_of_the_product_they_became(retail):
    products = read_products(retail)
    same = replace(
        products,
        text=["mug", "mug", "bowl"],
        group=np.array(["a", "a", "b"], object),
        together=np.array([[0, 1], [0, 2], [1, 2]]),
    )
    distinct = same.distinct()
    assert distinct.text == ["mug", "bowl"]
    assert distinct.together.tolist() == [[0, 1]]
    assert np.isnan(distinct.target[1, 1])  # known of neither
    assert distinct.weight[1, 1] == 0


def test_real_products_are_many_and_what_is_bought_together_is_known(online_retail_path):
    products = read_products(online_retail_path)
    known = products.lines >= KNOWN_LINES
    assert 1_000 < known.sum() < len(products) < 5_000
    assert len(set(products.group)) < len(products)
    assert len(products.together) > 1_000
    assert np.isfinite(products.target[known][:, :2]).all()
    half = products.take(np.arange(len(products)) % 2 == 0)
    names = np.array(products.listing_id)[::2]
    assert half.listing_id == names.tolist()
    whole = {tuple(np.array(products.listing_id)[pair]) for pair in products.together}
    assert {tuple(names[pair]) for pair in half.together} <= whole
