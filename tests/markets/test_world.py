import numpy as np
import pytest
from small_histories import history_of
from small_markets import shop_of

from markets import REGIMES, Conditions, ListingEnv, Regime, World
from markets.world import shipped


@pytest.mark.parametrize("regime", REGIMES)
def test_parts_belong_together(regime: Regime) -> None:
    world = World.of(shop_of(40), regime, seed=3, arms=5)
    assert len(world.buyers) == world.history.listings.height == 40
    assert world.calendar.arrival.shape == (40,)
    assert world.knowledge.ladders.shape == (40, 5)
    assert world.knowledge.regime == regime


def test_one_seed_one_world() -> None:
    shop = shop_of(40)
    one, same, other = (World.of(shop, "cost", seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.buyers.value, same.buyers.value)
    np.testing.assert_array_equal(one.knowledge.ladders, same.knowledge.ladders)
    assert (one.buyers.value != other.buyers.value).all()
    # what is known is no matter of hidden demand, where costs are on record
    np.testing.assert_array_equal(one.knowledge.ladders, other.knowledge.ladders)


def test_embeddings_take_the_place_of_words() -> None:
    vectors = np.eye(40, 3, dtype=np.float32)
    world = World.of(shop_of(40), "text", vectors=vectors)
    np.testing.assert_array_equal(world.knowledge.vectors, vectors)
    assert ListingEnv("text", world=world).observation_space.shape == (23,)


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("costs", [True, False])
def test_one_listing_without_impressions_is_a_world(regime: Regime, costs: bool) -> None:
    world = World.of(shop_of(1, costs=costs, counted=False), regime)
    env = ListingEnv(regime, Conditions(days=2), world)
    seen, info = env.reset(seed=0)
    assert seen in env.observation_space
    assert info["listing"] == ["0000"]
    assert env.step(3)[0] in env.observation_space
    assert env.step(15)[3]


def test_no_listing_is_no_world() -> None:
    empty = history_of([{"listing_id": "a"}], [])
    nobody = type(empty)(empty.listings.clear(), empty.sales, {})
    with pytest.raises(ValueError, match="the history has no listings"):
        World.of(nobody, "cost")


def test_the_shipped_world_is_made_once() -> None:
    assert shipped("cost") is shipped("cost")
    assert shipped("cost").history.listings.height == 519
    assert (shipped("cost", ("constant",)).buyers.family == 3).all()
