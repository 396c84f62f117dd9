from importlib import resources

import numpy as np
import polars as pl
import pytest

from markets import RECORD_DAYS, RECORD_SEED, Buyers, History, load_catalogue
from markets.catalogue.make import make_sales

FILES = resources.files("markets.catalogue")


@pytest.fixture(scope="module")
def catalogue() -> History:
    return load_catalogue()


@pytest.fixture(scope="module")
def listings() -> pl.DataFrame:
    return pl.read_csv(FILES.joinpath("listings.csv").read_bytes())


def test_it_has_the_stated_size(catalogue: History) -> None:
    assert catalogue.listings.height == 519
    assert catalogue.listings["category"].n_unique() == 15
    assert catalogue.listings.group_by("category").len()["len"].min() >= 30
    assert catalogue.listings["listing_id"].is_unique().all()
    assert catalogue.dropped == {}
    readme = FILES.joinpath("README.md").read_text()
    assert "519 listings" in readme
    assert "15 categories" in readme
    size = sum(len(FILES.joinpath(name).read_bytes()) for name in ("listings.csv", "sales.csv"))
    assert size < 2_500_000


def test_texts_are_of_their_own(catalogue: History) -> None:
    texts = catalogue.listings
    for column in ("title", "description"):
        assert texts[column].str.to_lowercase().is_unique().all()
        assert (texts[column] == texts[column].str.strip_chars()).all()
    assert texts["title"].str.len_chars().is_between(10, 100).all()
    assert texts["description"].str.len_chars().is_between(20, 140).all()
    assert texts["description"].str.contains(r"[.?!]$").all()
    assert texts["brand"].null_count() == 0
    # Not a cross product: the words are many, and most titles hold one that no other title has.
    words = texts.select(
        "listing_id", pl.col("title").str.to_lowercase().str.extract_all(r"[a-z]+")
    )
    rare = words.explode("title").filter(pl.col("title").str.len_chars() > 3).unique()
    counts = rare.with_columns(pl.len().over("title").alias("uses"))
    assert counts["title"].n_unique() > 1000
    assert counts.filter(pl.col("uses") <= 2)["listing_id"].n_unique() > 0.8 * texts.height


def test_prices_costs_and_levels_are_plausible(listings: pl.DataFrame) -> None:
    margin = 1 - listings["unit_cost"] / listings["list_price"]
    assert margin.is_between(0.2, 0.7).all()
    assert margin.mean() == pytest.approx(0.45, abs=0.05)
    assert listings["list_price"].is_between(1.5, 1000).all()
    assert listings["impressions_per_day"].is_between(5, 1000).all()


def test_within_a_family_more_costs_more(listings: pl.DataFrame) -> None:
    price = dict(listings.select("title", "list_price").iter_rows())
    ladders = [
        [f"Cast iron casserole with lid, {x} litre, enamelled ink blue" for x in (2.8, 4.7, 6.1)],
        [f"Kettlebell, cast iron, {x} kg" for x in (8, 16, 24)],
        ["Non-stick aluminium frying pan, 20 cm", "Non-stick aluminium frying pan, 28 cm"],
        ["microSD card, 128 GB, 170 MB/s", "microSD card, 512 GB, 170 MB/s"],
    ]
    for ladder in ladders:
        prices = [price[title] for title in ladder]
        assert prices == sorted(prices)


def test_the_record_covers_every_listing_and_day(
    catalogue: History, listings: pl.DataFrame
) -> None:
    sales = catalogue.sales
    assert sales.height == listings.height * RECORD_DAYS
    assert sales.select("listing_id", "at").is_unique().all()
    assert sales["impressions"].null_count() == 0
    assert (sales["units"] <= sales["impressions"]).all()
    moved = sales.join(listings, on="listing_id").select(pl.col("price") / pl.col("list_price"))
    assert moved["price"].is_between(0.88, 1.12).all()
    assert (sales.group_by("listing_id").agg(pl.col("price").n_unique())["price"] > 1).mean() > 0.95


def test_the_record_regenerates_byte_for_byte() -> None:
    assert make_sales() == FILES.joinpath("sales.csv").read_bytes()


def test_the_buyers_who_made_the_record_can_be_met_again(catalogue: History) -> None:
    again = Buyers.from_history(catalogue, RECORD_SEED)
    # Bought in the record at r, expected of these buyers at r: the same but for chance.
    prices = catalogue.sales["price"].to_numpy().reshape(-1, RECORD_DAYS)  # (n, days)
    shown = catalogue.sales["impressions"].to_numpy().reshape(prices.shape)
    units = catalogue.sales["units"].to_numpy().reshape(prices.shape)
    expected = shown * again.units_per_impression(prices)
    assert units.sum() == pytest.approx(expected.sum(), rel=0.03)
    dear = prices > 1.04 * again.recorded_price[:, None]
    assert units[dear].sum() == pytest.approx(expected[dear].sum(), rel=0.06)
    stranger = Buyers.from_history(catalogue, RECORD_SEED + 1)
    misfit = [
        np.abs(units - shown * b.units_per_impression(prices))[dear].sum()
        for b in (again, stranger)
    ]
    assert misfit[0] < misfit[1]
