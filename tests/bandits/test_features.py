import numpy as np
import pytest

from bandits import DIM, VERSION
from bandits.features import (
    MARKET,
    MARKET_DIMENSIONS,
    NAMES,
    PRIOR_MEAN,
    SCALE,
    TEXT,
    TEXT_DIMENSIONS,
    Context,
    expressed,
    features,
    reduce,
    traits,
)
from bandits.words import WORDS, word_ids


def column(name):
    return NAMES.index(name)


def one(make, price=20.0, guess=20.0, **known):
    """Features by name of one listing at one price."""
    listings = make.listings([guess], **known)
    return dict(
        zip(NAMES, features(listings.context, np.log([[price]]))[0, 0].tolist(), strict=True)
    )


def test_names_stand_for_columns():
    assert len(set(NAMES)) == len(NAMES) == DIM
    assert all(name.startswith("text_") for name in NAMES[TEXT])
    assert TEXT.stop - TEXT.start == TEXT_DIMENSIONS
    assert VERSION


def test_the_own_curve_comes_first_and_is_believed():
    assert NAMES[0] == "own_curve"
    assert PRIOR_MEAN[0] == 1
    assert not PRIOR_MEAN[1:].any()
    assert len(PRIOR_MEAN) == DIM


def test_market_features_are_those_of_the_market():
    assert len(set(MARKET.tolist())) == len(MARKET)
    expected = {f"market_text_{i}" for i in range(MARKET_DIMENSIONS)} | {
        "competitor_known",
        "price_over_competitor",
        "dearer_than_competitor",
        "dearer_by",
        "traffic_known",
        "log_traffic",
        "promotion",
        "weekday_sin",
        "weekday_cos",
        "season_sin",
        "season_cos",
    }
    assert {NAMES[i] for i in MARKET} == expected


@pytest.mark.parametrize(("n", "k"), [(1, 1), (3, 7), (200, 2)])
def test_one_row_per_listing_one_column_per_arm(make, n, k):
    listings = make.listings(np.full(n, 10.0))
    found = features(listings.context, np.log(np.full((n, k), 10.0)))
    assert found.shape == (n, k, DIM)
    assert str(found.dtype) == "torch.float32"


def test_what_is_unknown_is_no_nan(make):
    listings = make.listings([10.0, 1e-2, 1e9])
    found = features(listings.context, np.log([[1e-2, 1.0, 1e9]] * 3)).numpy()
    assert np.isfinite(found).all()
    for name in ("has_neighbours", "cost_known", "competitor_known", "traffic_known"):
        assert not found[:, :, column(name)].any()
    of_competitors = ("price_over_competitor", "dearer_than_competitor", "dearer_by")
    for name in ("nearest_similarity", "cost_share", *of_competitors, "log_traffic"):
        assert not found[:, :, column(name)].any()
    assert (found[:, :, 0] == 1).all()


@pytest.mark.filterwarnings("error")
def test_a_free_article_is_no_nan_and_no_warning(make):
    known = one(make, unit_cost=0.0)
    assert known["cost_known"] == 1
    assert known["cost_share"] == -3


def test_values_by_hand(make):
    found = one(
        make,
        price=30.0,
        guess=20.0,
        unit_cost=5.0,
        context={
            "nearest_similarity": 0.75,
            "competitor_price": 25.0,
            "traffic": 100.0,
            "promotion": 1.0,
        },
        at=0,
    )
    expected = {
        "own_curve": 1.0,
        "price": np.log(1.5),
        "price_squared": np.log(1.5) ** 2,
        "has_neighbours": 1.0,
        "nearest_similarity": 0.75,
        "cost_known": 1.0,
        "cost_share": np.log(0.25),
        "competitor_known": 1.0,
        "price_over_competitor": np.log(1.2),
        "dearer_than_competitor": 1.0,
        "dearer_by": np.log(1.2),
        "traffic_known": 1.0,
        "log_traffic": np.log(101.0) / 10,
        "promotion": 1.0,
        "weekday_sin": 0.0,
        "weekday_cos": 1.0,
        "season_sin": 0.0,
        "season_cos": 1.0,
        **{f"text_{i}": 0.0 for i in range(TEXT_DIMENSIONS)},
        **{f"market_text_{i}": 0.0 for i in range(MARKET_DIMENSIONS)},
    }
    assert found == pytest.approx(expected, abs=1e-6)


def test_the_calendar_comes_round(make):
    day = 86_400_000_000
    start = 1_750_000_000_000_000
    now, next_week, later = (one(make, at=start + d * day) for d in (0, 7, 3))
    for name in ("weekday_sin", "weekday_cos"):
        assert now[name] == pytest.approx(next_week[name], abs=1e-6)
        assert now[name] != pytest.approx(later[name], abs=0.05)
    year = one(make, at=int(start + 365.2425 * day))
    for name in ("season_sin", "season_cos"):
        assert now[name] == pytest.approx(year[name], abs=1e-6)
    half = one(make, at=int(start + 182.62 * day))
    assert now["season_sin"] == pytest.approx(-half["season_sin"], abs=1e-3)


def test_prices_far_from_the_guess_are_bounded(make):
    found = one(make, price=1e9, guess=1e-2, context={"competitor_price": 1.0})
    assert (found["price"], found["price_squared"], found["price_over_competitor"]) == (2, 4, 2)


@pytest.mark.parametrize("competitor", [0.1, 1.37, 12.99, 30.0, 8765.43])
def test_the_competitors_own_price_is_not_dearer(make, competitor):
    def at(price):
        found = one(make, price=price, guess=20.0, context={"competitor_price": competitor})
        return found["dearer_than_competitor"], found["dearer_by"], found["price_over_competitor"]

    assert at(competitor) == pytest.approx((0.0, 0.0, 0.0), abs=1e-6)
    assert at(competitor + 0.01)[0] == 1
    assert at(competitor - 0.01)[:2] == (0, 0)
    assert at(competitor * 1.5) == pytest.approx((1.0, np.log(1.5), np.log(1.5)), abs=1e-6)
    assert at(competitor / 1.5)[2] == pytest.approx(-np.log(1.5), abs=1e-6)


def test_text_goes_to_its_own_columns(make):
    rng = np.random.default_rng(0)
    text, market = rng.normal(size=(2, 1, 64)).astype(np.float32)
    listings = make.listings([10.0], text=text, market_text=market)
    found = features(listings.context, np.log([[10.0, 12.0]])).numpy()
    expected = reduce(text, TEXT_DIMENSIONS)[0]
    np.testing.assert_array_equal(found[0, 0, TEXT], expected)
    np.testing.assert_array_equal(found[0, 1, TEXT], expected)
    market_columns = [i for i, name in enumerate(NAMES) if name.startswith("market_text_")]
    np.testing.assert_array_equal(found[0, 0, market_columns], reduce(market, MARKET_DIMENSIONS)[0])


@pytest.mark.parametrize("target", [TEXT_DIMENSIONS, MARKET_DIMENSIONS])
@pytest.mark.parametrize("source", [64, 384])
def test_reduction_keeps_the_expected_length(source, target):
    # the mean of |x Q|² over the 2 · source signed axes is exact, not sampled: tr(Q Qᵀ) / source
    axes = np.eye(source, dtype=np.float32)
    reduced = reduce(axes, target)
    assert reduced.shape == (source, target)
    assert (reduced.astype(np.float64) ** 2).sum(1).mean() == pytest.approx(1.0, rel=1e-5)
    # and columns are orthogonal: no direction counts twice
    gram = reduced.astype(np.float64).T @ reduced
    np.testing.assert_allclose(gram, np.eye(target) * source / target, atol=1e-4)


def test_reduction_is_fixed():
    x = np.random.default_rng(1).normal(size=(3, 384)).astype(np.float32)
    np.testing.assert_array_equal(reduce(x, 8), reduce(x.copy(), 8))
    np.testing.assert_allclose(reduce(2 * x, 8), 2 * reduce(x, 8), rtol=1e-6)


NO_WORDS = np.empty(0, np.int64)


def test_traits_are_what_is_known_and_zero_where_nothing_is(make):
    text, words = np.eye(3, 32), word_ids(["red mug", "mug", "lamp"])
    listings = make.listings([10.0] * 3, text=text, unit_cost=[5.0, np.nan, 1e-9], words=words)
    red, mug = word_ids(["red"])[0, 0], word_ids(["mug"])[0, 0]
    found = traits(listings.context, np.sort([red, mug]).astype(np.int64))
    assert {str(block.dtype) for block in found.values()} == {"torch.float64"}
    np.testing.assert_array_equal(found["text"].numpy(), text)
    np.testing.assert_allclose(found["markup"].numpy(), [[np.log(0.5)], [0.0], [-3.0]])
    held = found["words"][:, [0, 1] if red < mug else [1, 0]]
    np.testing.assert_allclose(held, [[0.5**0.5, 0.5**0.5], [0.0, 1.0], [0.0, 0.0]])
    assert list(traits(listings.context, NO_WORDS, ["markup"])) == ["markup"]
    assert not traits(listings.context, NO_WORDS, [])


@pytest.mark.filterwarnings("error")
def test_traits_without_text_or_cost(make):
    found = traits(make.listings([10.0, 2.0], unit_cost=[0.0, np.nan]).context, NO_WORDS)
    assert not found["text"].any()
    assert found["words"].shape == (2, 0)
    assert found["markup"].tolist() == [[-3.0], [0.0]]


def test_expressed_in_another_space_features_are_those_of_that_space():
    rng = np.random.default_rng(0)
    n, d = 50, 64

    def context(text, market_text, similarity):
        return Context(
            text,
            market_text,
            similarity,
            guess,
            np.full(n, 0.3),
            *(rng_known.copy() for _ in range(4)),
            at,
            np.full(n, -1),
            np.full((n, WORDS), -1, np.int32),
        )

    guess, rng_known = rng.normal(2, 1, n), rng.uniform(1, 5, n)
    at = rng.integers(0, 1 << 50, n)
    here = rng.normal(size=(2, n, d)).astype(np.float32)
    there = rng.normal(size=(2, n, d)).astype(np.float32)
    near = rng.uniform(-1, 1, (2, n))
    near[0, :10], near[1, 5:15] = np.nan, np.nan
    price = np.log(rng.uniform(5, 20, (n, 1)))
    curve = rng.uniform(0.01, 0.1, (n, 1)).astype(np.float32)

    def logged(space, similarity):
        return features(context(*space, similarity), price)[:, 0].numpy() * SCALE * curve

    moved = expressed(logged(here, near[0]), *there, near[1])
    np.testing.assert_allclose(moved, logged(there, near[1]), atol=1e-6)
    back = expressed(moved, *here, near[0])
    np.testing.assert_allclose(back, logged(here, near[0]), atol=1e-6)
