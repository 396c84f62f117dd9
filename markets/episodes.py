"""Episodes of a world, many at a time: what an environment shows, takes and pays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from markets import chance
from markets.calendar import weekday
from markets.conditions import Conditions
from markets.demand import Floats, Ints
from markets.season import Season
from markets.texts import nearest
from markets.world import World

COLUMNS = (
    "day",
    "week_sin",
    "week_cos",
    "year_sin",
    "year_cos",
    "log_guess",
    "guess_sd",
    "has_reference",
    "log_cost",
    "has_cost",
    "log_rival",
    "has_rival",
    "promotion",
    "stock",
    "has_stock",
    "log_price",
    "log_own_price",
    "log_impressions",
    "log_units",
    "log_late_units",
)
"""What an observation holds for each listing, before its text vector; see `ListingEnv`."""

HIGHEST = 20.0
"""No entry of an observation lies beyond this, either way."""

_TODAY, _FIXED, _YESTERDAY = slice(0, 5), slice(5, 10), slice(15, 20)
_RIVAL, _PROMOTION, _STOCK = (COLUMNS.index(name) for name in ("log_rival", "promotion", "stock"))
_YEAR = 365.25
_OWN = 0.8  # weight of the past in the smoothed own price
_PRODUCT = 13  # what a number of `chance` is for
_EPISODE, _MEMBER = np.uint64(0x9FB21C651E98DF25), np.uint64(0xA24BAED4963EE407)


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Where episodes take place and under which conditions.

    Args:
        world: catalogue, hidden buyers, knowledge.
        conditions: what changes from day to day.

    Attributes:
        families: for each listing itself and the listings most like it, int64 (n, group).
    """

    world: World
    conditions: Conditions
    families: Ints

    @classmethod
    def of(cls, world: World, conditions: Conditions) -> Course:
        """A course; substitutes are a listing and those with the most similar texts.

        Raises:
            ValueError: the world has fewer listings than a group of substitutes.
        """
        n, group = len(world.buyers), conditions.group
        if n < group:
            raise ValueError(f"group is {group}, and the catalogue has {n} listings")
        families = np.arange(n)[:, None]
        if group > 1:
            everyone = np.ones(n, np.bool_)
            near, _ = nearest(world.knowledge.vectors, everyone, group - 1, families[:, 0])
            families = np.concatenate([families, near], axis=1)
        return cls(world, conditions, families)

    @property
    def width(self) -> int:
        """Entries of an observation per listing."""
        return len(COLUMNS) + int(self.world.knowledge.vectors.shape[1])


class Episodes:
    """m episodes side by side, each with a product (or a group of substitutes) drawn for it.

    An episode follows from its seed and number alone, whatever runs beside it.

    Args:
        seeds: uint64 (m,). number: how many episodes went before with these seeds, at least 0,
            for all of them or for each, (m,).
    """

    def __init__(
        self, course: Course, seeds: npt.NDArray[np.uint64], number: int | npt.NDArray[np.uint64]
    ) -> None:
        world, group = course.world, course.conditions.group
        with np.errstate(over="ignore"):
            keys = chance.keys_of(seeds + np.asarray(number, np.uint64) * _EPISODE)
            members = np.arange(group, dtype=np.uint64) * _MEMBER
            of_members = chance.keys_of(keys[:, None] + members).ravel()
        drawn = chance.uniform(keys, _PRODUCT, 0) * len(world.buyers)
        self.rows = course.families[drawn.astype(np.int64)].ravel()  # (m * group,)
        self._course, self._knowledge = course, world.knowledge
        # substitutes live in the days of the product drawn
        self._first_date = np.repeat(world.calendar.arrival[self.rows[::group]], group)
        self.season = Season(
            replace(world.buyers.take(self.rows), keys=of_members),
            course.conditions,
            calendar=world.calendar,
            first_date=self._first_date,
            objective="revenue" if self._knowledge.regime == "text" else "profit",
        )
        self._ladders = self._knowledge.ladders[self.rows]
        self._guess = self._knowledge.guess[self.rows]
        self._seen = self._blank()
        self._last = np.zeros((self.rows.size, 5))
        self._own = np.zeros(self.rows.size)

    def step(self, arms: Ints) -> tuple[Floats, dict[str, Any]]:
        """Sell for a day at the chosen rungs of the ladders.

        Args:
            arms: integers (m, group), 0 for the lowest rung.

        Raises:
            ValueError: another shape, or no rung of the ladder.
            RuntimeError: the season is over.

        Returns:
            Rewards (m,), currency units: the gain on the units reported this day. And what
            happened, each (m, group): `price`, `impressions`, `units` (all sold, reported or
            not), `expected` (expected gain given the impressions).
        """
        season, rows = self.season, np.arange(self.rows.size)
        self._check(arms)
        prices = self._ladders[rows, arms.ravel()]
        day = season.step(prices)
        paid = (prices - season.cost) * day.reported
        late_units = np.zeros(rows.size)
        if day.late.row.size:
            gone = day.late
            margin = season.price_on(gone.day, gone.row) - season.cost[gone.row]
            np.add.at(paid, gone.row, margin * gone.units)
            np.add.at(late_units, gone.row, gone.units)
        relative = np.log(prices) - self._guess
        smoothed = _OWN * self._own + (1.0 - _OWN) * relative
        self._own = smoothed if season.day > 1 else relative
        counts = (day.impressions, day.reported, late_units)
        self._last = np.stack([relative, self._own, *(np.log1p(c) for c in counts)], axis=1)
        shape = arms.shape
        happened = {
            "price": prices.reshape(shape),
            "impressions": day.impressions.reshape(shape),
            "units": day.units.reshape(shape),
            "expected": day.expected.reshape(shape),
        }
        return paid.reshape(shape).sum(axis=1), happened

    def observe(self) -> npt.NDArray[np.float32]:
        """What is known before today's prices are set, float32 (m, group, width)."""
        season, seen = self.season, self._seen
        date = self._first_date + season.day
        week, year = 2 * np.pi * weekday(date) / 7, 2 * np.pi * (date % _YEAR) / _YEAR
        today = [np.full(date.size, season.day / self._course.conditions.days)]
        today += [np.sin(week), np.cos(week), np.sin(year), np.cos(year)]
        seen[:, _TODAY] = np.stack(today, axis=1)
        if self._course.conditions.competitors:
            seen[:, _RIVAL] = np.clip(np.log(season.rival) - self._guess, -HIGHEST, HIGHEST)
        seen[:, _PROMOTION] = season.promotion
        if season.stock is not None:
            seen[:, _STOCK] = np.log1p(season.stock)
        seen[:, _YESTERDAY] = np.clip(self._last, -HIGHEST, HIGHEST)
        return seen.reshape(-1, self._course.conditions.group, seen.shape[1]).copy()

    def _check(self, arms: Ints) -> None:
        group, rungs = self._course.conditions.group, self._ladders.shape[1]
        shape = (self.rows.size // group, group)
        if arms.shape != shape or arms.dtype.kind not in "iu":
            raise ValueError(
                f"expected integers of shape {shape}, not {arms.dtype} of shape {arms.shape}"
            )
        if arms.min() < 0 or arms.max() >= rungs:
            raise ValueError(f"rungs are 0 to {rungs - 1}, not {arms.min()} to {arms.max()}")

    def _blank(self) -> npt.NDArray[np.float32]:
        """An observation with all that stays as it is, float32 (m * group, width)."""
        known, rows, conditions = self._knowledge, self.rows, self._course.conditions
        seen = np.zeros((rows.size, self._course.width), np.float32)
        cost = known.unit_cost[rows]
        costed = np.isfinite(cost) & (cost > 0)
        relative = np.log(np.where(costed, cost, 1.0)) - self._guess
        fixed = [self._guess, known.guess_sd[rows], np.isfinite(known.reference[rows])]
        fixed += [np.where(costed, relative, 0.0), costed]
        seen[:, _FIXED] = np.clip(np.stack(fixed, axis=1), -HIGHEST, HIGHEST)
        seen[:, COLUMNS.index("has_rival")] = conditions.competitors > 0
        seen[:, COLUMNS.index("has_stock")] = conditions.stock is not None
        seen[:, len(COLUMNS) :] = np.clip(known.vectors[rows], -HIGHEST, HIGHEST)
        return seen
