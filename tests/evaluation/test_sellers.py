from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import HashingVectorizer

from evaluation.sellers import SELLERS, Sales, Seller, Today
from evaluation.sellers.attributes import own_sales
from evaluation.sellers.fitted_programme import Demand, FittedProgramme
from evaluation.sellers.linucb import Ridge
from evaluation.sellers.peers import PEERS
from evaluation.sellers.rules import Rules
from evaluation.sellers.semiparametric import index_slopes, survival
from evaluation.sellers.stock_aware import (
    ActorCriticSeller,
    BayesProgramme,
    Believed,
    DeepQSeller,
    Learned,
)
from evaluation.sellers.tally import Tally, earnings
from evaluation.sellers.thompson import posterior
from evaluation.sellers.ucb1 import upper
from evaluation.stage import Market, Stage, stage
from evaluation.trial import Result, hold
from markets import REGIMES, Conditions, Knowledge, load_catalogue
from markets.inventory import clairvoyant_programme

PAGE = Path(__file__).parents[2] / "docs" / "sellers.md"
EVENTS = Conditions(days=5, stock=(0, 30), competitors=0.0, prompt=0.6, delay=2.0, lost=0.05)
RIVALS = Conditions(
    days=5, competitors=0.4, promotions=0.2, shocks=0.2, drift=0.05, prompt=0.6, delay=2.0
)


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    history = load_catalogue()
    texts = history.listings["title"].to_list()
    vectors = HashingVectorizer(n_features=64).transform(texts).toarray().astype(np.float32)
    small = {"known": 60, "new": 25, "warm_days": 4}
    calm = Conditions(days=4)
    markets = {
        **{regime: Market(regime, conditions=calm, **small) for regime in REGIMES},
        "stock": Market("cost", conditions=EVENTS, **small),
        "rivals": Market("text", conditions=RIVALS, **small),
        "cold": Market("text", conditions=calm, known=60, new=1, warm_days=0),
    }
    return {name: stage(history, vectors, market, 3) for name, market in markets.items()}


@pytest.fixture(autouse=True)
def little_practice(monkeypatch):
    monkeypatch.setattr(Learned, "seasons", 2)
    monkeypatch.setattr(Learned, "rounds", 2)


class Watched:
    """A seller whose prices are kept and looked at."""

    def __init__(self, seller: Seller, knowledge: Knowledge) -> None:
        self.seller, self.knowledge, self.prices = seller, knowledge, []

    def price(self, today: Today):
        prices = self.seller.price(today)
        assert prices.shape == today.rows.shape
        assert np.isfinite(prices).all()
        assert (prices > 0.0).all()
        assert (prices >= np.nan_to_num(self.knowledge.unit_cost[today.rows])).all()
        self.prices.append(prices)
        return prices

    def learn(self, sales: Sales) -> None:
        self.seller.learn(sales)


def watched(of: Stage, name: str) -> tuple[Result, np.ndarray]:
    kept: list[Watched] = []

    def maker(knowledge: Knowledge, seed: int) -> Watched:
        kept.append(Watched(SELLERS[name](knowledge, seed), knowledge))
        return kept[0]

    result = hold(of, maker)
    return result, np.concatenate(kept[0].prices)


OWN = [name for name in SELLERS if name not in PEERS]  # peers' contract: test_peers.py
# Cost-plus and the guess know nothing of rungs and may lie below a cost that the guess missed.
RUNGS = [name for name in OWN if name not in ("fixed", "cost-plus")]


@pytest.mark.parametrize("name", RUNGS)
@pytest.mark.parametrize("where", [*REGIMES, "stock", "rivals", "cold"])
def test_every_seller_keeps_the_contract(stages, where, name):
    result, prices = watched(stages[where], name)
    assert np.isfinite(result.gain).all()
    assert result.gain.sum() >= 0.0
    if name != "predictive" or where == "stock":  # fits are slow: once is enough
        again = watched(stages[where], name)[1]
        np.testing.assert_array_equal(prices, again)


@pytest.mark.parametrize("name", OWN)
def test_no_listing_is_no_trouble(stages, name):
    none, whole = np.zeros(0), np.zeros(0, np.int64)
    seller = SELLERS[name](stages["text"].knowledge, 0)
    today = Today(0, whole, whole, 3, none, np.zeros(0, np.bool_), None)
    assert seller.price(today).shape == (0,)
    seller.learn(Sales(whole, whole, none, whole, whole))
    assert seller.price(replace(today, day=1, stock=whole)).shape == (0,)


@pytest.mark.parametrize("name", OWN)
def test_a_catalogue_of_one_listing_is_enough(stages, name):
    knowledge = stages["rivals"].knowledge
    columns = {f.name: getattr(knowledge, f.name) for f in fields(Knowledge)}
    one = Knowledge(**{k: v if k == "regime" else v[:1] for k, v in columns.items()})
    seller, row = SELLERS[name](one, 0), np.zeros(1, np.int64)
    for day in range(40, 46):  # first seen late in a trial
        rival = np.array([np.nan if day % 2 else 5.0])
        stock = None if day < 43 else row + 45 - day
        today = Today(day, row, row + day, 46 - day, rival, np.array([day == 42]), stock)
        prices = seller.price(today)
        assert np.isfinite(prices).all()
        seller.learn(Sales(row + day, row, prices, row + 3, row + day % 3))


def test_every_seller_is_described():
    page = PAGE.read_text()
    for name in SELLERS:
        assert f"`{name}`" in page, name


def test_the_upper_bound_is_that_of_the_paper():
    shown, units = np.array([[400.0, 100.0, 0.0]]), np.array([[20.0, 1.0, 0.0]])
    log_t = np.log(500.0)
    spread = 0.05 * 0.95 + np.sqrt(2 * log_t / 400)
    expected = 0.05 + np.sqrt(log_t / 400 * min(0.25, spread))
    bound = upper(shown, units)
    assert bound[0, 0] == pytest.approx(expected)
    assert bound[0, 1] == pytest.approx(0.01 + np.sqrt(log_t / 100 * 0.25))
    assert np.isinf(bound[0, 2])


def test_the_posterior_is_the_prior_and_the_counts():
    a, b = posterior(np.array([100.0, 0.0]), np.array([7.0, 2.0]), np.array([0.05, 0.05]), 2.0)
    np.testing.assert_allclose(a, [9.0, 4.0])
    np.testing.assert_allclose(b, [38.0 + 93.0, 38.0])


def test_ridge_is_least_squares_with_rows_for_the_prior():
    stream = np.random.default_rng(0)
    x, arm = stream.normal(size=(60, 3)), stream.integers(0, 2, 60)
    weight = stream.integers(1, 50, 60).astype(float)
    payoff = stream.poisson(0.2 * weight).astype(float)
    ridge = Ridge(2, 3, 4.0)
    for half in (slice(0, 30), slice(30, 60)):
        ridge.add(arm[half], x[half], weight[half], payoff[half])
    for one in range(2):
        rows = arm == one
        root = np.sqrt(weight[rows])
        design = np.vstack([root[:, None] * x[rows], 2.0 * np.eye(3)])
        target = np.append(payoff[rows] / root, np.zeros(3))
        theta = np.linalg.lstsq(design, target, rcond=None)[0]
        np.testing.assert_allclose(ridge.a[one], design.T @ design)
        np.testing.assert_allclose(ridge.b[one], design.T @ target)
        np.testing.assert_allclose(ridge.bounds(x, 0.0)[:, one], x @ theta)
        width = np.sqrt(np.diag(x @ np.linalg.inv(ridge.a[one]) @ x.T))
        gap = ridge.bounds(x, 0.5)[:, one] - ridge.bounds(x, 0.0)[:, one]
        np.testing.assert_allclose(gap, 0.5 * width)


def _today(knowledge: Knowledge, stock: int | None, days_left: int = 10) -> Today:
    rows = np.arange(len(knowledge.guess))
    left = None if stock is None else np.full(rows.size, stock)
    calm = np.zeros(rows.size, np.bool_)
    return Today(0, rows, rows * 0, days_left, np.full(rows.size, np.nan), calm, left)


def test_scarce_stock_is_worth_a_higher_price(stages):
    knowledge = stages["cost"].knowledge
    rows = np.arange(len(knowledge.guess))
    demand = Tally(knowledge).typical(rows)
    traffic = np.full(rows.size, 100.0)
    best = [
        earnings(knowledge, _today(knowledge, stock), demand, traffic).argmax(axis=1)
        for stock in (1, 10, 1000)
    ]
    assert (best[0] >= best[1]).all()
    assert (best[1] >= best[2]).all()
    assert best[0].mean() > best[2].mean()


def _sold(knowledge: Knowledge, arm: np.ndarray, shown: int, units: np.ndarray, day: int) -> Sales:
    rows = np.arange(arm.size)
    price = knowledge.ladders[rows, arm]
    return Sales(np.full(arm.size, day), rows, price, np.full(arm.size, shown), units)


def test_late_units_join_the_rung_they_were_sold_at(stages):
    knowledge = stages["text"].knowledge
    tally = Tally(knowledge)
    arm = np.full(len(knowledge.guess), 5)
    tally.add(_sold(knowledge, arm, 100, arm * 0 + 2, 0))
    tally.add(_sold(knowledge, arm, 0, arm * 0 + 1, 0))
    first = np.abs(np.log(knowledge.ladders / knowledge.ladders[:, [5]])).argmin(axis=1)
    np.testing.assert_array_equal(tally.units[arm * 0 + np.arange(arm.size), first], 3.0)
    np.testing.assert_array_equal(tally.days, 1.0)


def _simulated(knowledge: Knowledge, steep: float, seed: int, shown: int = 2000) -> Tally:
    """Sales at random rungs under exponential demand."""
    stream, tally = np.random.default_rng(seed), Tally(knowledge)
    n, k = knowledge.ladders.shape
    for day in range(12):
        arm = stream.integers(0, k, n)
        ratio = tally.ratio[np.arange(n), arm]
        units = stream.poisson(shown * 0.05 * np.exp(-steep * (ratio - 1.0)))
        tally.add(_sold(knowledge, arm, shown, units, day))
    return tally


def test_own_sales_tell_steep_from_flat(stages):
    knowledge = stages["reference"].knowledge
    rows = np.arange(len(knowledge.guess))
    # standard error of a listing's slope: about 0.1
    assert own_sales(_simulated(knowledge, 3.0, 0), rows)[:, 1].mean() > 0.3
    assert own_sales(_simulated(knowledge, 1.2, 0), rows)[:, 1].mean() < -0.3


def test_the_mixed_model_finds_level_and_steepness(stages):
    knowledge = stages["reference"].knowledge
    tally = _simulated(knowledge, 3.0, 1)
    demand = Demand(np.zeros((len(knowledge.guess), 1)), tally)
    for _ in range(5):
        demand.fit()
    level, steep = demand.mode.mean(axis=0)
    assert level == pytest.approx(np.log(0.05), abs=0.05)
    assert steep == pytest.approx(3.0, abs=0.1)


def test_slopes_are_found_whatever_the_noise():
    stream = np.random.default_rng(2)
    x, log_ratio = stream.normal(size=(4000, 2)), stream.uniform(-0.7, 0.7, (4000, 4))
    theta = np.array([0.3, -0.2])
    worth = (x @ theta)[:, None, None] - 0.5 + stream.gumbel(size=(4000, 4, 20)) * 0.4
    units = (worth > log_ratio[:, :, None]).sum(axis=2).astype(float)
    found = index_slopes(x, log_ratio, np.full(units.shape, 20.0), units, 1.0)
    np.testing.assert_allclose(found, theta, atol=0.03)
    index = (log_ratio - (x @ theta)[:, None]).ravel()
    grid, share = survival(index, np.full(index.size, 20.0), units.ravel(), 0.05)
    assert (np.diff(share) <= 1e-12).all()
    middle = np.interp([-0.5, 0.0, 0.5], grid, share)
    expected = 1.0 - np.exp(-np.exp(-(np.array([-0.5, 0.0, 0.5]) + 0.5) / 0.4))
    np.testing.assert_allclose(middle, expected, atol=0.02)


def test_rules_mark_down_what_is_slow_and_up_what_is_fast(stages):
    knowledge = stages["cost"].knowledge
    for units, sign in ((0, -1.0), (9, 1.0)):
        seller = Rules(knowledge, 0)
        paths = []
        for day in range(9):
            prices = seller.price(replace(_today(knowledge, 30, 15 - day), day=day))
            rows = np.arange(prices.size)
            sold = np.full(prices.size, units)
            seller.learn(Sales(rows * 0 + day, rows, prices, rows * 0 + 50, sold))
            paths.append(prices)
        assert (sign * (paths[8] - paths[0]) >= 0.0).all()
        assert (sign * (paths[8] - paths[0]) > 0.0).mean() > 0.9


def test_the_programme_asks_more_for_the_last_unit(stages):
    knowledge = stages["cost"].knowledge
    seller = FittedProgramme(knowledge, 0)
    seller.vary = seller.vary_new = 0.0
    last, many = (seller.price(_today(knowledge, stock)) for stock in (1, 70))
    assert (last >= many).all()
    assert last.mean() > many.mean()


def test_plausible_demands_centre_on_the_estimate_and_narrow_with_sales(stages):
    knowledge = stages["cost"].knowledge
    rows = np.arange(len(knowledge.guess))
    believed = Believed(knowledge)
    before = np.log(believed.rates(rows, 64))
    assert believed.rates(rows, 5).shape == (rows.size, 5, knowledge.ladders.shape[1])
    assert before.std(axis=1).min() > 0.5  # of level and traffic together
    mode = believed.demand.rates(rows)
    far = np.abs(np.median(believed.demand.plausible(rows, np.zeros((1, 2))), axis=1) - mode)
    assert far.max() < 1e-12
    for day in range(6):
        believed.learn(_sold(knowledge, np.full(rows.size, 6), 300, rows * 0 + 9, day))
    after = np.log(believed.rates(rows, 64))
    assert after.std(axis=1)[:, 6].max() < before.std(axis=1)[:, 6].min()


def test_a_unit_is_kept_for_the_demand_that_may_come(stages):
    knowledge = stages["cost"].knowledge
    many, one = BayesProgramme(knowledge, 0), BayesProgramme(knowledge, 0)
    one.hypotheses = 1  # the first of Halton's points lies in the middle of level and steepness
    few = _today(knowledge, 3)
    assert many.price(few).mean() > one.price(few).mean()


def test_learners_practise_once_and_only_with_stock(stages):
    knowledge = stages["cost"].knowledge
    seller = DeepQSeller(knowledge, 0)
    seller.price(_today(knowledge, None))
    assert seller._learner.replay.size == 0
    seller.price(_today(knowledge, 5))
    lived = seller._learner.replay.size
    assert lived > 0
    seller.price(_today(knowledge, 4, 9))
    assert seller._learner.replay.size == lived


@pytest.mark.parametrize("learned", [DeepQSeller, ActorCriticSeller])
def test_on_a_season_of_one_day_learners_charge_what_earns_most_today(stages, learned):
    knowledge = stages["cost"].knowledge
    seller, today = learned(knowledge, 0), _today(knowledge, 10**6, days_left=1)
    ladder = knowledge.ladders[today.rows]
    rates = seller._believed.rates(today.rows, seller.priced).mean(axis=1)
    best = (ladder * rates).max(axis=1)
    arm = np.abs(ladder - seller.price(today)[:, None]).argmin(axis=1)
    np.testing.assert_allclose((ladder * rates)[np.arange(arm.size), arm], best, rtol=1e-3)


def test_beside_stock_the_programme_misses_nothing_and_others_are_judged_by_it(stages):
    held = stages["stock"]
    held = replace(held, market=replace(held.market, warm_days=0))

    class Programme:
        def __init__(self, knowledge: Knowledge, seed: int) -> None:
            season = held.season(held.new, held.market.conditions)
            self._programme = clairvoyant_programme(season, knowledge.ladders[held.new])

        def price(self, today: Today) -> np.ndarray:
            return self._programme.price(today.day, today.stock)

        def learn(self, sales: Sales) -> None:
            pass

    class OneADay(Programme):
        """Follows it on all days but the first, on which it charges twice as much."""

        def price(self, today: Today) -> np.ndarray:
            return super().price(today) * (1.0 if today.day else 2.0)

    best, other = hold(held, Programme), hold(held, OneADay)
    assert best.share == pytest.approx(1.0)
    assert best.first_gain == pytest.approx(best.first_best)
    np.testing.assert_array_equal(best.path, best.best_path)
    assert other.first_gain < best.first_gain
    assert other.first_best == best.first_best
