from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri
from small_histories import history_of
from small_markets import buyers_of, shop_of

from markets import FAMILIES, Buyers, load_catalogue, read_online_retail
from markets.texts import clusters, text_vectors

N = 3000
RATIOS = np.linspace(0.0, 4.0, 81)


def crowd(seed: int = 0, n: int = N) -> Buyers:
    """Buyers from a record without costs or impressions, so that everything is drawn."""
    listings = [{"listing_id": f"{i:05}", "family_group": f"{i // 3}"} for i in range(n)]
    sales = [(f"{i:05}", day, 2.0 + i % 7, 40, None) for i in range(n) for day in (1, 28)]
    return Buyers.from_history(history_of(listings, sales), seed)


@pytest.fixture(scope="module")
def buyers() -> Buyers:
    return crowd()


def test_demand_falls_and_is_a_share(buyers: Buyers) -> None:
    demand = buyers.units_per_impression(buyers.value[:, None] * RATIOS)  # (n, 81)
    assert demand.min() >= 0
    assert demand.max() <= 1
    assert (np.diff(demand, axis=1) <= 0).all()


def test_conversion_and_elasticity_hold_at_v(buyers: Buyers) -> None:
    np.testing.assert_allclose(buyers.units_per_impression(buyers.value), buyers.conversion)
    step = 1e-6
    up, down = (buyers.units_per_impression(buyers.value * (1 + s)) for s in (step, -step))
    elasticity = (np.log(up) - np.log(down)) / (np.log1p(step) - np.log1p(-step))
    np.testing.assert_allclose(elasticity, buyers.elasticity, rtol=1e-5)


def test_columns_of_prices_are_priced_one_by_one(buyers: Buyers) -> None:
    prices = buyers.value[:, None] * np.array([0.5, 1.0, 1.5])
    for column in range(3):
        for of in (buyers.units_per_impression, buyers.profit_per_impression):
            np.testing.assert_array_equal(of(prices)[:, column], of(prices[:, column]))
    margin = prices - buyers.unit_cost[:, None]
    np.testing.assert_allclose(
        buyers.profit_per_impression(prices), margin * buyers.units_per_impression(prices)
    )


def test_far_prices_sell_nothing_without_a_warning(buyers: Buyers) -> None:
    assert (buyers.units_per_impression(buyers.value * 1e9) == 0).all()


@pytest.mark.statistical
def test_draws_have_the_stated_spreads(buyers: Buyers) -> None:
    # False alarms: each bound is 4 standard errors or more at n = 3000, below 1e-3 in all; seeded.
    quartiles = np.quantile(buyers.elasticity, [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, [-2.6, -1.9, -1.2], atol=0.25)
    assert buyers.elasticity.min() >= -4.5
    assert buyers.elasticity.max() <= -1.05
    shares = np.bincount(buyers.family) / N
    np.testing.assert_allclose(shares, 1 / 3, atol=0.035)
    shock = np.log(buyers.value / buyers.recorded_price)
    assert abs(shock.mean()) < 0.011
    assert shock.std() == pytest.approx(0.15, abs=0.008)
    assert np.median(buyers.conversion) == pytest.approx(0.04, abs=0.002)
    margin = 1 - buyers.unit_cost / buyers.recorded_price
    assert margin.mean() == pytest.approx(0.45, abs=0.012)
    # Three listings a family: alike, not equal.
    families = margin.reshape(-1, 3)
    assert families.mean(axis=1).std() == pytest.approx(np.hypot(0.08, 0.05 / 3**0.5), abs=0.008)
    assert families.std(axis=1, ddof=1).mean() == pytest.approx(0.05 * 0.886, abs=0.003)


def test_what_is_recorded_is_kept() -> None:
    listings = [
        {"listing_id": "known", "unit_cost": 1.5, "category": "Tins"},
        {"listing_id": "uncounted", "category": "Tins"},
    ]
    sales = [("known", day, 3.0, 9, 300) for day in range(1, 29)]
    sales += [("uncounted", 1, 4.0, 10, None), ("uncounted", 2, 5.0, 11, None)]
    drawn = Buyers.from_history(history_of(listings, sales), 5)
    assert drawn.unit_cost[0] == 1.5
    assert 0.2 * 5 <= drawn.unit_cost[1] <= 0.9 * 5
    # Half the units went at 5.
    assert drawn.recorded_price.tolist() == [3.0, 5.0]
    assert drawn.mean_impressions[0] == 300
    # 3 % recorded, pulled a little towards 4 %; close to it, because logit moves along its curve.
    recorded = drawn.units_per_impression(drawn.recorded_price)[0]
    assert recorded == pytest.approx((252 + 4) / 8500, rel=0.05)
    # 21 units in two days are spread over four weeks: nothing sells 10 a day for having sold once.
    expected = np.clip(21 / 28 / drawn.conversion[1], 10, 1000)
    assert drawn.mean_impressions[1] == pytest.approx(expected)


def test_a_listing_without_sales_has_no_price_level() -> None:
    history = history_of([{"listing_id": "a"}, {"listing_id": "b"}], [("a", 1, 1.0, 1, None)])
    with pytest.raises(ValueError, match="'b' has no sales row"):
        Buyers.from_history(history, 0)


def test_a_listing_that_never_sold_has_buyers() -> None:
    drawn = Buyers.from_history(history_of([{"listing_id": "a"}], [("a", 1, 4.0, 0, 500)]), 0)
    assert drawn.recorded_price.tolist() == [4.0]
    assert 0 < drawn.conversion[0] < 0.04


def test_one_seed_one_crowd() -> None:
    one, same, other = crowd(1, 60), crowd(1, 60), crowd(2, 60)
    for name in ("value", "elasticity", "family", "conversion", "unit_cost", "mean_impressions"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
        assert (getattr(one, name) != getattr(other, name)).any(), name
    np.testing.assert_array_equal(one.impressions(3), same.impressions(3))


@pytest.mark.statistical
def test_streams_are_unrelated(buyers: Buyers) -> None:
    # False alarms: 15 correlations at 4.5 standard errors, below 2e-4; seeded.
    columns = np.log(
        np.stack(
            [
                buyers.value / buyers.recorded_price,
                -buyers.elasticity,
                buyers.family + 1.0,
                buyers.conversion,
                buyers.impressions(0) / buyers.mean_impressions + 0.01,
                buyers.unit_cost / buyers.recorded_price,
            ]
        )
    )
    off_diagonal = np.corrcoef(columns)[np.triu_indices(6, 1)]
    assert np.abs(off_diagonal).max() < 4.5 / N**0.5


def test_impressions_are_counts_of_their_day(buyers: Buyers) -> None:
    today, tomorrow = buyers.impressions(0), buyers.impressions(1)
    assert today.dtype == np.int64
    assert today.shape == (N,)
    assert (today != tomorrow).any()
    np.testing.assert_array_equal(today, buyers.impressions(0))


@pytest.mark.statistical
def test_impressions_and_units_have_the_right_means_and_spreads(buyers: Buyers) -> None:
    # False alarms: five z values at 4.5, below 4e-5; seeded.
    shown = np.stack([buyers.impressions(day) for day in range(20)])  # (days, n)
    mean = np.broadcast_to(buyers.mean_impressions, shown.shape)
    assert abs(shown.sum() - mean.sum()) / mean.sum() ** 0.5 < 4.5
    poisson = (shown - mean) ** 2 / mean
    assert abs(poisson.mean() - 1) / ((2 + 1 / mean).mean() / shown.size) ** 0.5 < 4.5

    demand = buyers.units_per_impression(buyers.recorded_price * 0.8)
    sold = np.stack(
        [buyers.sell(day, buyers.recorded_price * 0.8, shown[day]) for day in range(20)]
    )
    expected, variance = shown * demand, shown * demand * (1 - demand)
    assert abs((sold - expected).sum()) / variance.sum() ** 0.5 < 4.5
    enough = variance > 2
    z = (sold - expected) / np.maximum(variance, 1e-9) ** 0.5
    assert abs((z[enough] ** 2).mean() - 1) / (2.5 / enough.sum()) ** 0.5 < 4.5
    # Days are independent of each other.
    both = enough[1:] & enough[:-1]
    assert abs((z[1:] * z[:-1])[both].mean()) * both.sum() ** 0.5 < 4.5


@settings(max_examples=25, deadline=None)
@given(
    day=st.integers(0, 10_000),
    low=st.floats(0, 3),
    more=st.floats(0, 2),
    seed=st.integers(0, 1 << 62),
)
def test_policies_meet_the_same_visitors(day: int, low: float, more: float, seed: int) -> None:
    few = crowd(seed, 50)
    shown = few.impressions(day)
    cheap, dear = few.value * low, few.value * (low + more)
    sold = few.sell(day, cheap, shown)
    np.testing.assert_array_equal(sold, few.sell(day, cheap, shown))
    assert (few.sell(day, dear, shown) <= sold).all()
    assert ((sold >= 0) & (sold <= shown)).all()
    # What another listing is charged or shown changes nothing.
    other = np.arange(50) % 2 == 0
    mixed = few.sell(day, np.where(other, dear, cheap), np.where(other, 2 * shown, shown))
    np.testing.assert_array_equal(mixed[~other], sold[~other])
    # More visitors are the same visitors and then some.
    assert (few.sell(day, cheap, shown + 7) >= sold).all()


def test_bad_prices_and_impressions_are_refused() -> None:
    few = crowd(0, 3)
    ones = np.ones(3, np.int64)
    with pytest.raises(ValueError, match=r"shape \(3,\) or \(3, k\), not \(2,\)"):
        few.units_per_impression([1.0, 2.0])
    for price in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="finite and at least 0"):
            few.profit_per_impression([1.0, 1.0, price])
    with pytest.raises(ValueError, match="expected prices and impressions of shape"):
        few.sell(0, np.ones((3, 2)), ones)
    with pytest.raises(ValueError, match="expected prices and impressions of shape"):
        few.sell(0, np.ones(3), ones[:2])
    for impressions in (ones - 2, ones * 1.5):
        with pytest.raises(ValueError, match="integers of at least 0"):
            few.sell(0, np.ones(3), impressions)


def test_no_grid_price_beats_the_clairvoyant(buyers: Buyers) -> None:
    best = buyers.profit_per_impression(buyers.clairvoyant())
    c, v = buyers.unit_cost[:, None], buyers.value[:, None]
    grid = np.concatenate([c + v * np.linspace(0, 2, 401), v * np.geomspace(0.05, 50, 401)], axis=1)
    of_grid = buyers.profit_per_impression(grid).max(axis=1)
    assert (best >= of_grid * (1 - 1e-9)).all()
    # The grid is fine enough to say that the prices are not merely beyond it.
    assert (best <= of_grid * 1.001 + 1e-12).all()


def test_the_clairvoyant_agrees_with_closed_forms(buyers: Buyers) -> None:
    p, c, v, e = buyers.clairvoyant(), buyers.unit_cost, buyers.value, -buyers.elasticity
    cut = buyers.units_per_impression(p) >= 1
    exponential = (buyers.family == 1) & ~cut
    np.testing.assert_allclose(p[exponential], (c + v / e)[exponential], rtol=1e-6)
    linear = (buyers.family == 2) & ~cut & (c < v * (1 + 1 / e))
    np.testing.assert_allclose(p[linear], ((c + v * (1 + 1 / e)) / 2)[linear], rtol=1e-6)
    # Logit: p - c = v / (b (1 - d)), with b = e / (1 - k).
    logit, k, d = buyers.family == 0, buyers.conversion, buyers.units_per_impression(p)
    np.testing.assert_allclose((p - c)[logit], (v * (1 - k) / (e * (1 - d)))[logit], rtol=1e-5)


@pytest.mark.parametrize("family", range(3))
@pytest.mark.parametrize("cost_ratio", [0.0, 0.1, 0.9, 2.0])
def test_the_clairvoyant_at_the_edges(family: int, cost_ratio: float) -> None:
    e, k = (a.ravel() for a in np.meshgrid([1.05, 2.0, 4.5], [1e-4, 0.04, 0.25]))
    ones = np.ones(e.size)
    edge = Buyers(
        unit_cost=cost_ratio * ones,
        recorded_price=ones,
        value=ones,
        elasticity=-e,
        family=np.full(e.size, family),
        conversion=k,
        choke=2.5 * ones,
        mean_impressions=ones,
        keys=np.zeros(e.size, np.uint64),
    )
    best = edge.profit_per_impression(edge.clairvoyant())
    grid = edge.profit_per_impression(ones[:, None] * np.linspace(0, 12, 12001)).max(axis=1)
    assert (best >= grid * (1 - 1e-9)).all()


def test_demand_at_the_recorded_price_is_the_recorded_demand() -> None:
    history = load_catalogue()
    totals = history.sales.group_by("listing_id", maintain_order=True).sum()
    recorded = totals["units"].to_numpy() / totals["impressions"].to_numpy()
    drawn = Buyers.from_history(history, 1)
    gap = drawn.units_per_impression(drawn.recorded_price) - recorded
    # All but the few that hardly sold or whose linear curve has ended there.
    assert np.mean(np.abs(gap) < 0.1 * recorded) > 0.93


def test_buyers_of_the_real_file(online_retail_path: Path) -> None:
    history = read_online_retail(online_retail_path)
    drawn = Buyers.from_history(history, 0)
    for name, low, high in [
        ("unit_cost", 0.01, 200),
        ("recorded_price", 0.05, 200),
        ("value", 0.03, 300),
        ("conversion", 0.003, 0.25),
        ("mean_impressions", 10, 1000),
    ]:
        column = getattr(drawn, name)
        assert column.shape == (history.listings.height,)
        assert low <= column.min() <= column.max() <= high, name
    assert (drawn.clairvoyant() > drawn.unit_cost).all()
    # A median is one of the prices charged.
    charged = set(zip(history.sales["listing_id"], history.sales["price"], strict=True))
    named = zip(history.listings["listing_id"], drawn.recorded_price, strict=True)
    assert charged.issuperset(named)


def test_dearer_goods_are_never_priced_lower(buyers: Buyers) -> None:
    dearer = replace(buyers, unit_cost=buyers.unit_cost * 1.2)
    assert (dearer.clairvoyant() >= buyers.clairvoyant() - 1e-6).all()


def share_explained(share: float, seed: int) -> float:
    """Share of the variance of elasticities, on the scale of a normal, between clusters."""
    history = shop_of(1200, kinds=40)
    drawn = Buyers.from_history(history, seed, text_share=share)
    at = ((-4.5, -2.6, -1.9, -1.2, -1.05), (0.0, 0.25, 0.5, 0.75, 1.0))
    normal = ndtri(np.clip(np.interp(drawn.elasticity, *at), 1e-12, 1 - 1e-12))
    cluster = clusters(text_vectors(history.listings["title"].to_list()))
    size = np.bincount(cluster)
    mean = np.bincount(cluster, normal) / np.maximum(size, 1)
    within = ((normal - mean[cluster]) ** 2).sum() / (normal.size - (size > 0).sum())
    return float(1 - within)


@pytest.mark.statistical
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_texts_explain_the_stated_share_of_elasticities(share: float) -> None:
    # False alarms: within-cluster variance at 4.5 standard errors, about 1e-5 each; seeded.
    error = 4.5 * (1 - share) * (2 / 1100) ** 0.5 + 1e-9
    assert abs(share_explained(share, 0) - share) < error


def test_no_share_of_texts_keeps_the_old_draws() -> None:
    history = shop_of(60)
    plain, none = Buyers.from_history(history, 4), Buyers.from_history(history, 4, text_share=0.0)
    some = Buyers.from_history(history, 4, text_share=0.5)
    for name in Buyers.__slots__:
        np.testing.assert_array_equal(getattr(plain, name), getattr(none, name))
        if name not in ("elasticity", "conversion"):  # which is moved along the curve
            np.testing.assert_array_equal(getattr(plain, name), getattr(some, name))
    assert (plain.elasticity != some.elasticity).all()
    assert ((some.elasticity >= -4.5) & (some.elasticity <= -1.05)).all()


def test_families_are_those_asked_for() -> None:
    history = shop_of(60)
    for families in (("constant",), ("linear", "constant"), FAMILIES):
        drawn = Buyers.from_history(history, 0, families=families)
        assert {FAMILIES[number] for number in drawn.family} == set(families)
    for wrong in ((), ("cubic",), ("logit", "")):
        with pytest.raises(ValueError, match="expected names among logit"):
            Buyers.from_history(history, 0, families=wrong)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="text_share must lie in"):
            Buyers.from_history(history, 0, text_share=share)


@pytest.mark.parametrize("cost_ratio", [0.0, 0.1, 0.9, 2.0])
def test_the_clairvoyant_of_constant_buyers(cost_ratio: float) -> None:
    e, choke = (a.ravel() for a in np.meshgrid([1.05, 2.0, 4.5], [1.8, 2.5, 4.0]))
    edge = replace(
        buyers_of(e.size, "constant", value=1.0, cost=cost_ratio), elasticity=-e, choke=choke
    )
    found = edge.clairvoyant()
    best = edge.profit_per_impression(found)
    grid = edge.profit_per_impression(np.ones((e.size, 1)) * np.linspace(0, 6, 60_001)).max(axis=1)
    assert (best >= grid * (1 - 1e-6)).all()
    # c e / (e - 1), or the choke where that comes first
    inside = (cost_ratio > 0) & (cost_ratio * e / (e - 1) < choke) & (cost_ratio < choke)
    inside &= edge.units_per_impression(found) < 1
    np.testing.assert_allclose(found[inside], (cost_ratio * e / (e - 1))[inside], rtol=1e-6)


def test_some_of_the_buyers_are_themselves(buyers: Buyers) -> None:
    rows = np.array([7, 2, 2999])
    few = buyers.take(rows)
    assert len(few) == 3
    np.testing.assert_array_equal(few.impressions(5), buyers.impressions(5)[rows])
    np.testing.assert_array_equal(few.value, buyers.value[rows])
    assert len(buyers.take(np.zeros(N, np.bool_))) == 0
