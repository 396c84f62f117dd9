from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from evaluation.sellers import SELLERS, Sales, Today, peers, unavailable
from evaluation.sellers.features import CONTEXT, OFFER, Journal
from evaluation.sellers.packages import MissingPackage
from evaluation.sellers.peers import PEERS, package
from evaluation.stage import Market, Stage, stage
from evaluation.trial import hold
from markets import Conditions, load_catalogue

EVENTS = Conditions(days=4, stock=(0, 30), prompt=0.6, delay=1.5, lost=0.05)
RIVALS = Conditions(days=4, competitors=0.4, promotions=0.3, prompt=0.6, delay=1.5)


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    history = load_catalogue()
    texts = history.listings["title"].to_list()
    vectors = HashingVectorizer(n_features=64).transform(texts).toarray().astype(np.float32)
    small = {"known": 40, "new": 20, "warm_days": 3}
    markets = {
        "stock": Market("cost", conditions=EVENTS, **small),
        "rivals": Market("text", conditions=RIVALS, **small),
    }
    return {name: stage(history, vectors, market, 3) for name, market in markets.items()}


def need(name: str) -> None:
    """Skip where the package is absent, unless everything is meant to be there."""
    reason = unavailable().get(name)
    if reason is not None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


def prices_of(where: Stage, name: str) -> list[np.ndarray]:
    kept: list[np.ndarray] = []

    class Watched:
        def __init__(self, knowledge, seed):
            self.seller, self.knowledge = SELLERS[name](knowledge, seed), knowledge

        def price(self, today):
            prices = self.seller.price(today)
            ladders = self.knowledge.ladders[today.rows]
            assert prices.shape == today.rows.shape
            assert (prices >= ladders[:, 0]).all()
            assert (prices <= ladders[:, -1]).all()
            kept.append(prices)
            return prices

        def learn(self, sales):
            self.seller.learn(sales)

    hold(where, Watched)
    return kept


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("where", ["stock", "rivals"])
def test_prices_lie_on_the_ladder_and_follow_from_the_seed(stages, where, name):
    need(name)
    first = prices_of(stages[where], name)
    for once, again in zip(first, prices_of(stages[where], name), strict=True):
        np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize("name", PEERS)
def test_another_seed_draws_other_prices(stages, name):
    need(name)
    knowledge, today = stages["rivals"].knowledge, a_day(0, np.arange(40))
    first, other = (SELLERS[name](knowledge, seed).price(today) for seed in (3, 4))
    assert (first != other).any()


@pytest.mark.parametrize("name", PEERS)
def test_a_missing_package_is_named_with_its_extra(stages, name, monkeypatch):
    monkeypatch.setattr("evaluation.sellers.packages.find_spec", lambda package: None)
    assert set(unavailable()) == set(PEERS)
    with pytest.raises(MissingPackage, match=rf"{package(name)} .*pricebandit\[bench\]"):
        SELLERS[name](stages["stock"].knowledge, 0)


def test_tuned_settings_differ_from_the_defaults():
    tuned = [getattr(peers, name) for name in dir(peers) if name.startswith("TUNED_")]
    assert len(tuned) == len(PEERS) / 2
    assert all(settings != type(settings)() for settings in tuned)


def test_a_good_price_is_found_where_there_is_little_noise(stages):
    """All listings alike, demand falling evenly to nothing at the dearest rung."""
    knowledge, rows = stages["rivals"].knowledge, np.arange(60)
    k = knowledge.ladders.shape[1]
    chance = np.linspace(0.5, 0.0, k)
    ladders = knowledge.ladders[rows]
    worth = (ladders * chance).max(axis=1).sum()
    for name in ("mabwiser-linucb-tuned", "cb-lints-tuned", "vw-squarecb-tuned"):
        need(name)
        seller, stream = SELLERS[name](knowledge, 1), np.random.default_rng(1)
        earned = []
        for day in range(15):
            prices = seller.price(a_day(day, rows))
            arm = np.abs(ladders - prices[:, None]).argmin(axis=1)
            shown = np.full(rows.size, 200)
            units = stream.binomial(shown, chance[arm])
            seller.learn(Sales(np.full(rows.size, day), rows, prices, shown, units))
            earned.append((prices * chance[arm]).sum() / worth)
        # any rung at random earns 0.68
        assert np.mean(earned[-5:]) > 0.85, name


def a_day(day: int, rows: np.ndarray) -> Today:
    n = rows.size
    return Today(
        day, rows, np.full(n, 20_000 + day), 30 - day, np.full(n, np.nan), np.zeros(n, bool), None
    )


def test_features_are_finite_and_as_many_as_their_names(stages):
    journal, rows = Journal(stages["rivals"].knowledge), np.arange(7)
    today = a_day(0, rows)
    x, offers = journal.context(today), journal.offers(today)
    assert x.shape == (7, len(CONTEXT))
    assert offers.shape == (7, stages["rivals"].knowledge.ladders.shape[1], len(OFFER))
    assert np.isfinite(x).all()
    assert np.isfinite(offers).all()


def test_late_units_are_added_to_the_day_they_were_sold_on(stages):
    knowledge, rows = stages["stock"].knowledge, np.array([4, 2, 9])
    at_once, late = Journal(knowledge), Journal(knowledge)
    price = knowledge.ladders[rows, 5]
    day = np.zeros(3, np.int64)
    for journal in (at_once, late):
        today = a_day(0, rows)
        journal.wrote(today, journal.context(today), np.full(3, 5))
    shown = np.array([50, 0, 80])
    at_once.sold(Sales(day, rows, price, shown, np.array([4, 0, 7])))
    late.sold(Sales(day, rows, price, shown, np.array([4, 0, 2])))
    late.sold(Sales(day[:1], rows[2:], price[2:], day[:1], np.array([5])))
    first, second = at_once.labels(), late.labels()
    assert first.place.tolist() == [0, 2]
    np.testing.assert_allclose(first.gain, second.gain)
    np.testing.assert_allclose(first.weight, second.weight)


def test_labels_do_not_depend_on_the_currency(stages):
    knowledge, rows = stages["stock"].knowledge, np.arange(5)
    yen = replace(
        knowledge,
        unit_cost=knowledge.unit_cost * 150,
        ladders=knowledge.ladders * 150,
        reference=knowledge.reference * 150,
        guess=knowledge.guess + np.log(150),
    )
    found = []
    for known in (knowledge, yen):
        journal, today = Journal(known), a_day(0, rows)
        journal.wrote(today, journal.context(today), np.full(5, 3))
        sold = Sales(np.zeros(5, np.int64), rows, known.ladders[rows, 3], rows + 9, rows)
        journal.sold(sold)
        found.append((journal.labels().gain, journal.labels().x))
    np.testing.assert_allclose(found[0][0], found[1][0])
    np.testing.assert_allclose(found[0][1], found[1][1], atol=1e-12)


@pytest.mark.parametrize("name", PEERS)
def test_no_listing_and_one_listing_are_no_trouble(stages, name):
    need(name)
    none, whole = np.zeros(0), np.zeros(0, np.int64)
    seller = SELLERS[name](stages["rivals"].knowledge, 0)
    assert seller.price(a_day(0, whole)).shape == (0,)
    seller.learn(Sales(whole, whole, none, whole, whole))
    one = np.array([7])
    for day in (1, 2):
        price = seller.price(a_day(day, one))
        assert np.isfinite(price).all()
        seller.learn(Sales(np.array([day]), one, price, np.array([9]), np.array([1])))
