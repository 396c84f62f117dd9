import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_histories import history_of

from markets import History, load_catalogue

TWO = [{"listing_id": "a", "family_group": "A"}, {"listing_id": "b", "family_group": "B"}]
SALES = [("a", 1, 2.0, 3, None), ("b", 1, 2.0, 3, 50), ("a", 2, 2.0, 1, None)]


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.01, 0.99), seed=st.integers(0, 1 << 32))
def test_split_keeps_families_together_and_loses_nothing(share: float, seed: int) -> None:
    whole = load_catalogue()
    first, second = whole.split(share, seed)
    families = [set(part.listings["family_group"]) for part in (first, second)]
    assert families[0].isdisjoint(families[1])
    assert len(families[0]) == pytest.approx(share * len(families[0] | families[1]), abs=1)
    assert first.listings.height + second.listings.height == whole.listings.height
    assert first.sales.height + second.sales.height == whole.sales.height
    for part in (first, second):
        assert set(part.sales["listing_id"]) == set(part.listings["listing_id"])


def test_split_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    whole = load_catalogue()
    once, again, other = (whole.split(0.5, seed)[0].listings for seed in (1, 1, 2))
    assert once.equals(again)
    assert not once.equals(other)


def test_split_keeps_the_order_of_rows_and_the_count_of_dropped() -> None:
    whole = load_catalogue()
    part = whole.split(0.7, 0)[0]
    assert part.sales["listing_id"].is_sorted() == whole.sales["listing_id"].is_sorted()
    inside = pl.col("listing_id").is_in(part.listings["listing_id"].implode())
    assert part.sales.equals(whole.sales.filter(inside))
    assert history_of(TWO, SALES).split(0.5, 0)[1].dropped == {"junk": 3}


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, float("nan")])
def test_split_refuses_a_share_that_leaves_a_side_empty(share: float) -> None:
    with pytest.raises(ValueError, match="share must lie between"):
        history_of(TWO, SALES).split(share, 0)


def test_split_refuses_a_single_family() -> None:
    with pytest.raises(ValueError, match=r"cannot split 1 families in two: give .* two at"):
        history_of([{"listing_id": "a"}], []).split(0.5, 0)


def test_it_refuses_wrong_columns_nulls_doubles_and_strangers() -> None:
    good = history_of(TWO, SALES)
    with pytest.raises(ValueError, match="listings: expected columns"):
        History(good.listings.drop("title"), good.sales, {})
    with pytest.raises(ValueError, match="sales: expected columns"):
        History(good.listings, good.sales.with_columns(pl.col("units").cast(pl.Float64)), {})
    with pytest.raises(ValueError, match="column 'family_group' holds nulls"):
        history_of([{"listing_id": "a", "family_group": None}], [])
    with pytest.raises(ValueError, match="'a' occurs twice"):
        history_of([TWO[0], TWO[0]], [])
    with pytest.raises(ValueError, match="'z' is not among the listings"):
        history_of(TWO, [("z", 1, 1.0, 1, None)])


def test_extras_are_there_where_recorded_and_may_be_null() -> None:
    good = history_of(TWO, SALES)
    sales = good.sales.with_columns(
        pl.Series("promotion", [True, None, False]), pl.Series("channel", ["web", None, "shop"])
    )
    history = History(good.listings, sales, {}, ("as said",))
    first, _ = history.split(0.5, 0)
    assert first.sales.columns == sales.columns
    assert first.notes == ("as said",)
    wrong = sales.with_columns(pl.lit("yes").alias("promotion"))
    with pytest.raises(ValueError, match="sales: expected columns"):
        History(good.listings, wrong, {})
    with pytest.raises(ValueError, match="sales: expected columns"):
        History(good.listings, sales.with_columns(pl.lit(1).alias("stock")), {})
