"""Simulated markets as Gymnasium environments, one listing at a time or thousands a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from markets.conditions import Conditions
from markets.demand import FAMILIES
from markets.episodes import HIGHEST, Course, Episodes
from markets.knowledge import Regime
from markets.world import World, shipped

Array = npt.NDArray[Any]

_SEEDS = 1 << 62


def _course(
    regime: Regime, conditions: Conditions | None, world: World | None, families: tuple[str, ...]
) -> Course:
    world = world or shipped(regime, families)
    if world.knowledge.regime != regime:
        raise ValueError(f"the world is one of {world.knowledge.regime!r}, not of {regime!r}")
    return Course.of(world, conditions or Conditions())


def _spaces(course: Course) -> tuple[gym.Space[Any], gym.Space[Any]]:
    arms, group = course.world.knowledge.ladders.shape[1], course.conditions.group
    shape = (course.width,) if group == 1 else (group, course.width)
    seen = gym.spaces.Box(-HIGHEST, HIGHEST, shape, np.float32)
    taken = gym.spaces.Discrete(arms) if group == 1 else gym.spaces.MultiDiscrete([arms] * group)
    return seen, taken


class ListingEnv(gym.Env[Array, Any]):
    """A new listing is priced once a day for a season.

    ## Description
    An episode draws a product of a catalogue, which arrives without sales, and its days. Each day
    one rung of its price ladder is chosen; Poisson many people see the listing and buy with a
    probability that falls with the price.

    *Real*: titles, price and demand levels, costs where recorded, weekday and month factors, dates
    of arrival. *Assumed*: elasticities and demand curves (`markets.Buyers`), all of
    `markets.Conditions`.

    ## Action Space
    `Discrete(16)`, a rung of the ladder, cheapest first; `MultiDiscrete([16] * group)` where
    substitutes are priced together. The ladder reaches from 0.5 to 2 (`reference`), 0.4 to 3.2
    (`cost`) or 0.15 to 3.2 (`text`) times the guessed price, not below cost and at least to twice
    the cost.

    ## Observation Space
    `Box(-20, 20, (20 + d,), float32)`, or `(group, 20 + d)`; entries beyond are cut.

    | entry | name | what it is |
    |---|---|---|
    | 0 | day | share of the season gone |
    | 1–4 | week_sin, week_cos, year_sin, year_cos | the date |
    | 5–6 | log_guess, guess_sd | log price guessed from what is known, and its error |
    | 7 | has_reference | whether the guess is what the product was sold for |
    | 8–9 | log_cost, has_cost | log unit cost relative to the guess |
    | 10–11 | log_rival, has_rival | log of a rival's price relative to the guess |
    | 12 | promotion | whether one is on |
    | 13–14 | stock, has_stock | log(1 + units left) |
    | 15–16 | log_price, log_own_price | yesterday's price, own prices smoothed, to the guess |
    | 17–19 | log_impressions, log_units, log_late_units | log(1 + reported yesterday) |
    | 20… | text | vector of the title |

    ## Rewards
    Profit in currency units on the units reported that day (revenue in the `text` regime), at the
    prices of the days they were sold on; the sum over a group of substitutes.

    ## Starting State
    The first day of a product drawn by the seed; no price yet, no sales yet. `reset` without a seed
    goes on to the next product of the last seed, or begins with a seed of its own. Seeds are
    integers of at least 0, and the same modulo 2^64 are the same.

    ## Episode End
    `terminated` after the last day where there is stock to be sold by then, `truncated` otherwise.
    A season whose stock is sold out goes on to its last day.

    ## Info
    `reset`: `listing`, ids of the products. `step`, arrays (group,): `price`, `impressions`,
    `units` (sold, reported or not), `expected` (expected gain given the impressions), and `best`
    with `oracle`.

    ## Arguments
    - `regime`: "reference", "cost" or "text".
    - `conditions`: `markets.Conditions`; by default a season of 30 days without events.
    - `world`: a `markets.World` of the same regime; by default that of the shipped catalogue.
    - `families`: demand families of the default world.
    - `oracle`: whether `info` tells `best`, the expected gain, given the impressions, of the day's
      best price; it looks neither at stock nor at days to come.

    ## References
    den Boer, "Dynamic pricing and learning", Surveys in Operations Research and Management Science
    2015.

    ## Version History
    - v0: first.
    """

    metadata = {"render_modes": []}  # noqa: RUF012

    def __init__(
        self,
        regime: Regime = "cost",
        conditions: Conditions | None = None,
        world: World | None = None,
        families: tuple[str, ...] = FAMILIES[:3],
        oracle: bool = False,
        render_mode: str | None = None,
    ) -> None:
        self._course = _course(regime, conditions, world, families)
        self.observation_space, self.action_space = _spaces(self._course)
        self.render_mode, self._oracle = render_mode, oracle
        self._seed: int | None = None
        self._episodes: Episodes | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episode of the seed, or the first of another."""
        super().reset(seed=seed)
        if seed is not None or self._seed is None:
            self._seed = int(self.np_random.integers(_SEEDS)) if seed is None else _seed(seed)
            self._number = -1
        self._number += 1
        self._episodes = Episodes(self._course, np.array([self._seed], np.uint64), self._number)
        names = self._course.world.history.listings["listing_id"]
        return self._seen(), {"listing": [names[row] for row in self._episodes.rows.tolist()]}

    def step(self, action: Any) -> tuple[Array, float, bool, bool, dict[str, Any]]:
        """Sell for a day."""
        reward, happened = _sold(self._episodes, action, 1, self._oracle)
        info = {name: values[0] for name, values in happened.items()}
        season = _begun(self._episodes).season
        over, by_date = season.done, season.stock is not None
        return self._seen(), float(reward[0]), over and by_date, over and not by_date, info

    def _seen(self) -> Array:
        return _begun(self._episodes).observe().reshape(self.observation_space.shape or ())


class ListingVectorEnv(VectorEnv[Array, Array, Array]):
    """`ListingEnv` for thousands of listings a step; see there.

    Sub-environment i of `reset(seed=s)` is `ListingEnv` with seed s + i, to the last bit; a list
    has a seed for each, None for one that goes on with its own. All episodes end on the same day
    and begin again at the next step, whose actions count for nothing (`AutoresetMode.NEXT_STEP`).
    `info` has arrays (num_envs, group), and `listing` rows of the catalogue.
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.NEXT_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        regime: Regime = "cost",
        conditions: Conditions | None = None,
        world: World | None = None,
        families: tuple[str, ...] = FAMILIES[:3],
        oracle: bool = False,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs must be at least 1, not {num_envs}")
        self.num_envs = num_envs
        self._course = _course(regime, conditions, world, families)
        self.single_observation_space, self.single_action_space = _spaces(self._course)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.render_mode, self._oracle = render_mode, oracle
        self._seeds: npt.NDArray[np.uint64] | None = None
        self._episodes: Episodes | None = None

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Array, dict[str, Any]]:
        """Begin the next episodes of the seeds, or the first of others."""
        if options and "reset_mask" in options:
            raise ValueError("all episodes begin together: reset_mask is not supported")
        given = self._given(seed)
        super().reset(seed=None if isinstance(seed, Sequence) or seed is None else int(seed))
        if self._seeds is None:
            drawn = self.np_random.integers(_SEEDS, size=self.num_envs)
            self._seeds = drawn.astype(np.uint64)
            self._numbers = np.zeros(self.num_envs, np.uint64)
        else:
            self._numbers = self._numbers + np.uint64(1)
        for row, own in enumerate(given):
            if own is not None:
                self._seeds[row], self._numbers[row] = own, 0
        return self._begin()

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
        """Sell for a day, or begin again where the season is over."""
        season = _begun(self._episodes).season
        if season.done:
            self._numbers = self._numbers + np.uint64(1)
            seen, info = self._begin()
            nothing = np.zeros(self.num_envs, np.bool_)
            return seen, np.zeros(self.num_envs), nothing, nothing.copy(), info
        reward, info = _sold(self._episodes, actions, self.num_envs, self._oracle)
        over, by_date = np.full(self.num_envs, season.done), season.stock is not None
        return self._seen(), reward, over & by_date, over & (not by_date), info

    def _given(self, seed: int | Sequence[int | None] | None) -> list[int | None]:
        """A seed for each episode, None where it goes on with its own."""
        if seed is None:
            return [None] * self.num_envs
        if not isinstance(seed, Sequence):
            return [_seed(_seed(seed) + row) for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, not {len(seed)}")
        return [None if own is None else _seed(own) for own in seed]

    def _begin(self) -> tuple[Array, dict[str, Any]]:
        assert self._seeds is not None
        self._episodes = Episodes(self._course, self._seeds, self._numbers)
        shape = (self.num_envs, self._course.conditions.group)
        return self._seen(), {"listing": self._episodes.rows.reshape(shape)}

    def _seen(self) -> Array:
        return _begun(self._episodes).observe().reshape(self.observation_space.shape or ())


def _seed(seed: int) -> int:
    """A seed modulo 2^64."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"a seed is an integer of at least 0, not {seed!r}")
    return int(seed) % (1 << 64)


def _begun(episodes: Episodes | None) -> Episodes:
    if episodes is None:
        raise gym.error.ResetNeeded("call reset before step")
    return episodes


def _sold(
    episodes: Episodes | None, actions: Any, count: int, oracle: bool
) -> tuple[Array, dict[str, Any]]:
    """Rewards (count,) and what happened, (count, group) each, after a day at these actions."""
    begun = _begun(episodes)
    season, arms = begun.season, np.asarray(actions)
    if arms.size == count * season.conditions.group:
        arms = arms.reshape(count, season.conditions.group)
    best = season.gain(season.best_prices()) if oracle and not season.done else None
    reward, happened = begun.step(arms)
    if best is not None:
        happened["best"] = best.reshape(arms.shape) * happened["impressions"]
    return reward, happened


MARKETS: dict[str, dict[str, Any]] = {
    "ReferencePrice": {"regime": "reference"},
    "CostOnly": {"regime": "cost"},
    "TextOnly": {"regime": "text"},
    "Choke": {"regime": "cost", "families": ("constant",)},
    "Changing": {
        "regime": "cost",
        "conditions": Conditions(
            competitors=0.3, promotions=0.03, shocks=0.1, drift=0.02, turn_day=15
        ),
    },
    "Memory": {"regime": "reference", "conditions": Conditions(memory=1.0)},
    "Inventory": {"regime": "cost", "conditions": Conditions(stock=(10, 50))},
    "Late": {"regime": "cost", "conditions": Conditions(prompt=0.5, delay=3.0, lost=0.1)},
    "Substitutes": {"regime": "cost", "conditions": Conditions(group=4)},
}
"""Registered markets: `Pricebandit/<name>-v0`."""


def register() -> None:
    """Make every market known to `gymnasium.make` and `gymnasium.make_vec`."""
    for name, arguments in MARKETS.items():
        gym.register(
            id=f"Pricebandit/{name}-v0",
            entry_point="markets.environments:ListingEnv",
            vector_entry_point="markets.environments:ListingVectorEnv",
            kwargs=arguments,
        )
