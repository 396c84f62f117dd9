import re
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from small_markets import shop_of

from markets import MARKETS, Conditions, ListingEnv, ListingVectorEnv, World
from markets.episodes import COLUMNS
from markets.world import shipped

DOCS = Path(__file__).parents[2] / "docs" / "markets.md"
WORLD = World.of(shop_of(40), "cost")
EVENTFUL = Conditions(
    days=6, competitors=0.3, promotions=0.2, shocks=0.2, drift=0.05, turn_day=3, memory=1.0,
    stock=(5, 60), prompt=0.5, delay=2.0, lost=0.2, group=2,
)  # fmt: skip
every_market = pytest.mark.parametrize("name", MARKETS)


def played(env: gym.Env, seed: int, choose: "list[int]", seasons: int = 1) -> list[float]:  # type: ignore[type-arg]
    """Rewards of whole seasons, rungs taken in turn."""
    rewards, seeds = [], [seed, *[None] * (seasons - 1)]
    for one in seeds:
        env.reset(seed=one)
        over, day = False, 0
        while not over:
            action = np.full(env.action_space.shape, choose[day % len(choose)])
            _, reward, terminated, truncated, _ = env.step(action)
            rewards.append(float(reward))
            over, day = terminated or truncated, day + 1
    return rewards


# The contract of every registered market


@every_market
def test_gymnasium_finds_nothing_wrong(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(f"Pricebandit/{name}-v0")
        check_env(env.unwrapped, skip_render_check=True)
        env.close()


@every_market
def test_both_makers_know_it(name: str) -> None:
    one = gym.make(f"Pricebandit/{name}-v0")
    assert isinstance(one.unwrapped, ListingEnv)
    many = gym.make_vec(
        f"Pricebandit/{name}-v0", num_envs=3, vectorization_mode="vector_entry_point"
    )
    assert isinstance(many, ListingVectorEnv)
    assert many.single_observation_space == one.observation_space
    assert many.single_action_space == one.action_space
    assert many.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    seen, _ = many.reset(seed=1)
    assert seen in many.observation_space
    many.action_space.seed(0)
    assert many.step(many.action_space.sample())[0] in many.observation_space
    regime = MARKETS[name]["regime"]
    assert {"ReferencePrice": "reference", "TextOnly": "text"}.get(name, regime) == regime


def same_as_one_by_one(many: ListingVectorEnv, single: SyncVectorEnv, steps: int) -> None:
    actions = np.random.default_rng(0).integers(0, 16, (steps, *many.action_space.shape))
    for day in range(steps):
        ours, theirs = many.step(actions[day]), single.step(actions[day])
        for one, other in zip(ours[:4], theirs[:4], strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
        for key in ("price", "impressions", "units", "expected", "best"):
            assert (key in ours[4]) == (key in theirs[4])
            if key in ours[4]:
                np.testing.assert_array_equal(ours[4][key], theirs[4][key])


@every_market
def test_many_at_a_time_are_one_at_a_time_to_the_last_bit(name: str) -> None:
    arguments = MARKETS[name]
    many = ListingVectorEnv(4, **arguments)
    single = SyncVectorEnv([lambda: ListingEnv(**arguments)] * 4)
    np.testing.assert_array_equal(many.reset(seed=11)[0], single.reset(seed=11)[0])
    same_as_one_by_one(many, single, 64)  # two seasons, two days that begin again, and two more


@pytest.mark.parametrize(("oracle", "steps"), [(False, 9), (True, 2)])
def test_so_they_are_under_all_conditions_at_once(oracle: bool, steps: int) -> None:
    arguments = {"conditions": EVENTFUL, "world": WORLD, "oracle": oracle}
    many = ListingVectorEnv(3, **arguments)
    single = SyncVectorEnv([lambda: ListingEnv(**arguments)] * 3)
    many.reset(seed=2**64 - 2)
    single.reset(seed=2**64 - 2)
    same_as_one_by_one(many, single, steps)
    # some seeds anew, others go on with their own
    for seeds in ([4, None, 4], [None] * 3, None):
        np.testing.assert_array_equal(many.reset(seed=seeds)[0], single.reset(seed=seeds)[0])
        same_as_one_by_one(many, single, steps)


@every_market
def test_it_is_named_in_the_documentation(name: str) -> None:
    assert f"`Pricebandit/{name}-v0`" in DOCS.read_text()


def test_entries_of_an_observation_are_those_documented() -> None:
    rows = re.findall(r"^\s*\| ([0-9–]+) \| ([a-z_, ]+) \|", ListingEnv.__doc__ or "", re.M)
    named = []
    for places, names in rows:
        first, *last = (int(place) for place in places.split("–"))
        assert first == len(named)
        named += names.split(", ")
        assert len(named) == (last or [first])[0] + 1
    assert tuple(named) == COLUMNS
    table = DOCS.read_text()
    for name in COLUMNS:
        assert f"`{name}`" in table, name


def test_every_condition_is_documented() -> None:
    page = DOCS.read_text()
    for name in Conditions.__slots__:
        assert f"`{name}`" in page, name


# Seeds and episodes


def test_a_seed_is_a_sequence_of_products() -> None:
    env = ListingEnv(world=WORLD, conditions=Conditions(days=3))
    first = [env.reset(seed=s)[1]["listing"] for s in (5, None, None)]
    again = [env.reset(seed=s)[1]["listing"] for s in (5, None, None)]
    assert first == again
    drawn = {env.reset(seed=s)[1]["listing"][0] for s in range(300)}
    assert len(drawn) > 35
    rewards = [played(env, seed, [5], seasons=3) for seed in (5, 5, 6)]
    assert rewards[0] == rewards[1] != rewards[2]


def test_without_a_seed_every_environment_has_its_own() -> None:
    many = [ListingVectorEnv(4, world=WORLD) for _ in range(2)]
    one, other = (env.reset()[0] for env in many)
    assert (one != other).any()
    envs = [ListingEnv(world=WORLD) for _ in range(4)]
    assert len({env.reset()[0].tobytes() for env in envs}) > 1
    again = [env.reset(seed=None)[0].tobytes() for env in envs]
    assert len(set(again)) > 1


@pytest.mark.parametrize("seed", [0, 2**63, 2**64 - 1, 2**64 + 5, 2**200])
def test_huge_seeds_are_taken(seed: int) -> None:
    one, many = ListingEnv(world=WORLD), ListingVectorEnv(3, world=WORLD)
    np.testing.assert_array_equal(one.reset(seed=seed)[0], many.reset(seed=seed)[0][0])
    np.testing.assert_array_equal(many.reset(seed=[seed] * 3)[0][2], one.reset(seed=seed)[0])
    assert many.np_random is not None


def test_bad_seeds_are_refused() -> None:
    many = ListingVectorEnv(3, world=WORLD)
    np.testing.assert_array_equal(many.reset(seed=np.int64(7))[0], many.reset(seed=7)[0])
    for seed in (-1, [0, -1, 2], 1.5, [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match="integer of at least 0"):
            many.reset(seed=seed)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected 3 seeds, not 2"):
        many.reset(seed=[1, 2])
    with pytest.raises(gym.error.Error, match="greater or equal to zero"):
        ListingEnv(world=WORLD).reset(seed=-1)
    with pytest.raises(ValueError, match="reset_mask is not supported"):
        many.reset(options={"reset_mask": np.ones(3, np.bool_)})
    with pytest.raises(ValueError, match="num_envs must be at least 1"):
        ListingVectorEnv(0, world=WORLD)


def test_a_day_needs_a_beginning_and_no_end() -> None:
    one, many = (
        ListingEnv(world=WORLD, conditions=Conditions(days=2)), ListingVectorEnv(2, world=WORLD)
    )  # fmt: skip
    with pytest.raises(gym.error.ResetNeeded):
        one.step(0)
    with pytest.raises(gym.error.ResetNeeded):
        many.step(np.zeros(2, np.int64))
    one.reset(seed=0)
    assert one.step(0)[2:4] == (False, False)
    assert one.step(0)[2:4] == (False, True)
    with pytest.raises(RuntimeError, match="over after 2 days"):
        one.step(0)


@pytest.mark.parametrize("action", [-1, 16, 2.5, [1, 2], None, "3"])
def test_actions_that_are_none_are_refused(action: object) -> None:
    one, many = ListingEnv(world=WORLD), ListingVectorEnv(1, world=WORLD)
    for env in (one, many):
        env.reset(seed=0)
        with pytest.raises(ValueError, match=r"rungs are 0 to 15|expected integers of shape"):
            env.step(action)


def test_a_world_is_of_its_regime() -> None:
    with pytest.raises(ValueError, match="the world is one of 'cost', not of 'text'"):
        ListingEnv("text", world=WORLD)
    with pytest.raises(ValueError, match="regime must be one of"):
        ListingEnv("all")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expected names among"):
        ListingEnv(families=("cubic",))


def test_stock_ends_an_episode_by_its_date() -> None:
    env = ListingEnv(conditions=Conditions(days=3, stock=(0, 0)), world=WORLD)
    env.reset(seed=0)
    for day in range(3):
        _, reward, terminated, truncated, info = env.step(0)
        assert reward == 0
        assert info["units"].tolist() == [0]
        assert (terminated, truncated) == (day == 2, False)


def test_another_process_plays_the_same() -> None:
    script = (
        "import numpy as np; from markets import ListingVectorEnv, Conditions; "
        "env = ListingVectorEnv(8, conditions=Conditions(drift=0.05, prompt=0.5)); "
        "s, _ = env.reset(seed=3); t = s.astype(np.float64).sum(); "
        "r = [env.step(np.arange(8))[1].tolist() for _ in range(5)]; print(t, r)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    ).stdout
    env = ListingVectorEnv(8, conditions=Conditions(drift=0.05, prompt=0.5))
    seen, _ = env.reset(seed=3)
    total = seen.astype(np.float64).sum()
    rewards = [env.step(np.arange(8))[1].tolist() for _ in range(5)]
    assert told == f"{total} {rewards}\n"


# Sane figures


@every_market
@pytest.mark.statistical
def test_no_rung_beats_the_best_price_and_none_pays_more_than_expected(name: str) -> None:
    # False alarm: one z value at 5 for each market, below 1e-5 in all; seeded.
    group = MARKETS[name].get("conditions", Conditions()).group
    count = 400 // group**2
    many = ListingVectorEnv(count, oracle=True, **MARKETS[name])
    shape, rng = many.action_space.shape, np.random.default_rng(0)
    stocked = many._course.conditions.stock is not None
    expected, best, gap = np.zeros(16), 0.0, []
    for arm in [*range(0, 16, 5), -1]:
        many.reset(seed=0)
        total = np.zeros(count)
        for _ in range(3 if group == 1 else 1):
            action = rng.integers(0, 16, shape) if arm < 0 else np.full(shape, arm)
            _, reward, _, _, info = many.step(action)
            of_best, of_arm = (
                info[key].reshape(count, group).sum(axis=1) for key in ("best", "expected")
            )
            assert (of_arm <= of_best * (1 + 1e-3) + 1e-9).all()
            assert (info["units"] <= info["impressions"]).all()
            expected[arm] += of_arm.sum()
            best += of_best.sum()
            total += reward - of_arm
        gap.append(total)
    assert (expected >= 0).all()
    assert expected.max() < best
    if not stocked and many._course.conditions.prompt == 1.0:
        z = np.concatenate(gap)
        assert abs(z.mean()) < 5 * z.std() / z.size**0.5


def test_a_fixed_rung_earns_what_a_loop_over_it_earns() -> None:
    env = ListingEnv(world=WORLD, conditions=Conditions(days=5))
    rewards = played(env, 3, [7], seasons=2)
    assert len(rewards) == 10
    assert min(rewards) >= 0
    assert sum(rewards) > 0


def test_the_shipped_worlds_are_shared() -> None:
    one, other = ListingEnv(), ListingVectorEnv(2)
    assert one._course.world is other._course.world is shipped("cost")
