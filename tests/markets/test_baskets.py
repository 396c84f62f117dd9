import numpy as np
import polars as pl
import pytest

from markets import LINE_COLUMNS, bought_together


def lines_of(orders):
    """Sales lines of orders, each a text of one-letter listings."""
    rows = [(name, str(i), 1.0, 1.0) for i, order in enumerate(orders) for name in order]
    return pl.DataFrame(rows, schema=LINE_COLUMNS, orient="row")


def pairs(found):
    return set(zip(found["listing_id"], found["partner_id"], strict=True))


def test_pairs_beyond_chance_are_found_strongest_first():
    found = bought_together(lines_of(["ab"] * 10 + ["cd"] * 6 + ["c"] * 3 + list("xyz") * 20))
    assert pairs(found) == {("a", "b"), ("c", "d")}
    assert found["listing_id"].to_list() == ["a", "c"]
    assert found["orders"].to_list() == [10, 6]
    assert found["strength"][0] == pytest.approx(1)  # never apart


def test_strength_is_normalised_pointwise_mutual_information():
    found = bought_together(lines_of(["ab"] * 8 + ["a"] * 2 + ["b"] * 4 + ["c"] * 66))
    expected = np.log(8 * 80 / (10 * 12)) / -np.log(8 / 80)
    assert found["strength"].to_list() == pytest.approx([expected])


def test_what_chance_explains_is_no_pair():
    rng = np.random.default_rng(0)
    orders = ["".join(rng.choice(list("abcdefghij"), 4, replace=False)) for _ in range(400)]
    assert not pairs(bought_together(lines_of(orders)))
    assert not pairs(bought_together(lines_of(["ab"] * 50)))  # in every order


def test_a_pair_of_few_orders_is_hearsay_and_a_huge_order_says_little():
    few = lines_of(["ab"] * 4 + ["c"] * 100)
    assert not pairs(bought_together(few))
    assert pairs(bought_together(few, fewest_orders=4)) == {("a", "b")}
    huge = lines_of(["abcde"] * 6 + ["x"] * 100)
    assert not pairs(bought_together(huge, largest_order=4))
    assert len(pairs(bought_together(huge))) == 10


def test_a_listing_keeps_its_strongest_partners_where_they_keep_it():
    orders = ["ab"] * 20 + ["ac"] * 8 + ["a", "b", "c"] * 2 + ["x"] * 200
    both = bought_together(lines_of(orders))
    assert pairs(both) == {("a", "b"), ("a", "c")}
    assert pairs(bought_together(lines_of(orders), most=1)) == {("a", "b")}


def test_nothing_recorded_gives_no_row():
    assert bought_together(lines_of([])).height == 0
    without = lines_of(["ab"] * 10).with_columns(order=pl.lit(None, pl.String))
    assert bought_together(without).height == 0


@pytest.mark.parametrize(
    "wrong", [{"most": 0}, {"fewest_orders": 0}, {"least": 1.5}, {"largest_order": 1}]
)
def test_an_argument_out_of_range_is_named(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"{name} is {value}: give"):
        bought_together(lines_of(["ab"]), **wrong)
