from dataclasses import fields, replace

import numpy as np
import polars as pl
import pytest
from small_markets import shop_of

from markets import REGIMES, Buyers, History, Knowledge, Regime
from markets.texts import text_vectors

N = 120
SHOP = shop_of(N)
BUYERS = Buyers.from_history(SHOP, 0)
VECTORS = text_vectors(SHOP.listings["title"].to_list())
ALL, NONE = np.ones(N, np.bool_), np.zeros(N, np.bool_)
NEW = np.arange(N) >= 100


def known(
    regime: Regime, past: np.ndarray = ~NEW, new: np.ndarray = NEW, buyers: Buyers = BUYERS,
    history: History = SHOP,
) -> Knowledge:  # fmt: skip
    return Knowledge.of(history, buyers, regime, VECTORS, past, new)


def same(one: Knowledge, other: Knowledge, rows: np.ndarray = ALL) -> bool:
    """Whether all that is told of some listings is the same."""
    return all(
        np.array_equal(getattr(one, f.name)[rows], getattr(other, f.name)[rows], equal_nan=True)
        for f in fields(Knowledge)
        if f.name != "regime"
    )


def test_reference_tells_what_a_new_listing_was_sold_for_and_its_cost() -> None:
    found = known("reference")
    np.testing.assert_array_equal(found.reference, BUYERS.recorded_price)
    np.testing.assert_array_equal(found.unit_cost, BUYERS.unit_cost)
    np.testing.assert_allclose(found.guess, np.log(BUYERS.recorded_price))


@pytest.mark.parametrize("regime", ["cost", "text"])
def test_other_regimes_have_no_reference_for_what_is_new(regime: Regime) -> None:
    found = known(regime)
    assert np.isnan(found.reference[NEW]).all()
    np.testing.assert_array_equal(found.reference[~NEW], BUYERS.recorded_price[~NEW])
    # nor does anything else of it depend on what the new ones were sold for
    dearer = replace(BUYERS, recorded_price=BUYERS.recorded_price * np.where(NEW, 100.0, 1.0))
    assert same(found, known(regime, buyers=dearer))


def test_text_knows_no_cost_anywhere() -> None:
    found = known("text")
    assert np.isnan(found.unit_cost).all()
    cheap = replace(BUYERS, unit_cost=BUYERS.unit_cost * 0.01)
    assert same(found, known("text", buyers=cheap))
    assert not same(known("cost"), known("cost", buyers=cheap))


@pytest.mark.parametrize("regime", REGIMES)
def test_hidden_demand_tells_nothing(regime: Regime) -> None:
    other = Buyers.from_history(SHOP, 1)
    hidden = replace(other, recorded_price=BUYERS.recorded_price, unit_cost=BUYERS.unit_cost)
    assert (hidden.value != BUYERS.value).all()
    assert same(known(regime), known(regime, buyers=hidden))


@pytest.mark.parametrize("regime", REGIMES)
def test_each_in_its_turn_is_guessed_from_other_families(regime: Regime) -> None:
    found = known(regime, ALL, ALL)
    family = SHOP.listings["family_group"].to_numpy()
    there = ~np.isnan(found.similarity)
    assert there.all()
    assert (family[found.neighbours] != family[:, None]).all()
    assert (np.diff(found.similarity, axis=1) <= 1e-12).all()
    if regime != "reference":
        assert np.isnan(found.reference).all()


def test_neighbours_have_a_past() -> None:
    assert not NEW[known("cost").neighbours].any()


def test_a_listing_without_past_or_newness_has_no_reference() -> None:
    found = known("reference", past=~NEW, new=NONE)
    assert np.isnan(found.reference[NEW]).all()
    assert np.isfinite(found.guess).all()


@pytest.mark.parametrize("regime", REGIMES)
def test_ladders_rise_from_cost(regime: Regime) -> None:
    found = known(regime, ALL, ALL)
    assert found.ladders.shape == (N, 16)
    assert (np.diff(found.ladders, axis=1) > 0).all()
    minor = found.ladders * 100
    np.testing.assert_allclose(minor, np.rint(minor), atol=1e-6)
    if regime != "text":
        assert (found.ladders >= found.unit_cost[:, None] - 1e-9).all()
        assert (found.ladders[:, -1] >= 2 * found.unit_cost - 0.01).all()
    low, high = {"reference": (0.5, 2.0), "cost": (0.4, 3.2), "text": (0.15, 3.2)}[regime]
    guess = np.exp(found.guess)
    bottom = np.fmax(low * guess, np.ceil(found.unit_cost * 100 - 1e-6) / 100)
    np.testing.assert_allclose(found.ladders[:, 0], bottom, atol=0.0051)
    top = np.fmax(high * guess, 2 * found.unit_cost)
    np.testing.assert_allclose(found.ladders[:, -1], top, atol=0.0051)


def test_a_guess_from_texts_knows_kinds_of_goods() -> None:
    log = np.log(BUYERS.recorded_price)
    error = known("text", ALL, ALL).guess - log
    assert error.std() < 0.5 * log.std()
    assert (known("cost", ALL, ALL).guess - log).std() < 0.2


def test_coarse_money_repeats_prices_and_never_falls() -> None:
    yen = History(SHOP.listings.with_columns(pl.lit("JPY").alias("currency")), SHOP.sales, {})
    ladders = known("text", history=yen).ladders
    np.testing.assert_array_equal(ladders, np.rint(ladders))
    assert (np.diff(ladders, axis=1) >= 0).all()
    assert (ladders >= 1).all()


def test_what_is_free_has_a_guess_and_a_ladder() -> None:
    free = replace(BUYERS, unit_cost=np.where(np.arange(N) % 3 == 0, 0.0, BUYERS.unit_cost))
    with np.errstate(all="raise", under="ignore"):
        found = known("cost", ALL, ALL, free)
    assert np.isfinite(found.guess).all()
    assert (found.ladders > 0).all()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="regime must be one of reference, cost, text"):
        known("all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rows and two arms"):
        known("cost", past=ALL[:5])
    with pytest.raises(ValueError, match="two arms"):
        Knowledge.of(SHOP, BUYERS, "cost", VECTORS, ALL, ALL, arms=1)
