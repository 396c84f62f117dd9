"""A trial: a seller prices known listings for a while, then new ones, against a clairvoyant."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from evaluation.sellers.protocol import Floats, Ints, Maker, Sales, Seller, Today
from evaluation.stage import Stage
from markets import Day, Season
from markets.inventory import clairvoyant_programme

T = TypeVar("T")

FIRST = 100.0
"""Impressions of a new listing that count as its first."""

_SHOWN = 6  # listings whose price paths are kept


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a seller made of the new listings.

    Attributes:
        gain: expected gain of each day, currency units, (days,); with stock what was taken in.
        best: the same of a clairvoyant who may charge any price; with stock of one who follows the
            exact programme over the ladder.
        best_rung: of a clairvoyant who may charge the rungs of the ladders only.
        first_gain, first_best: gain and best over each listing's first 100 impressions.
        arms: how often each rung, or the rung nearest to the price, was charged, int64 (k,).
        path, best_path: prices charged and best prices of some listings, (days, listings).
        seconds: processor time spent pricing and learning. decisions: prices set in that time.
    """

    gain: Floats
    best: Floats
    best_rung: Floats
    first_gain: float
    first_best: float
    arms: Ints
    path: Floats
    best_path: Floats
    seconds: float
    decisions: int

    @property
    def share(self) -> float:
        """Share of the clairvoyant's gain over the season."""
        return float(self.gain.sum() / self.best.sum())


@dataclass(slots=True)
class _Run:
    """A seller at work on a season."""

    season: Season
    rows: Ints
    dates: Ints
    first_day: int
    seller: Seller
    seconds: float = 0.0
    decisions: int = 0

    def days(self, judge: Callable[[Season, Floats], T]) -> Iterator[tuple[T, Day, Floats]]:
        """What `judge` says of each day's prices before the day is sold, the day, the prices."""
        season = self.season
        while not season.done:
            start = time.process_time()
            prices = np.asarray(self.seller.price(self._today()), np.float64)
            self.seconds += time.process_time() - start
            self.decisions += prices.size
            judged = judge(season, prices)
            day = season.step(prices)
            sales = self._sales(day, prices)
            start = time.process_time()
            self.seller.learn(sales)
            self.seconds += time.process_time() - start
            yield judged, day, prices

    def _today(self) -> Today:
        season = self.season
        return Today(
            day=self.first_day + season.day,
            rows=self.rows,
            date=self.dates + season.day,
            days_left=season.conditions.days - season.day,
            rival=season.rival,
            promotion=season.promotion,
            stock=season.stock,
        )

    def _sales(self, day: Day, prices: Floats) -> Sales:
        late, gone = day.late, self.season.day - 1
        of_late = np.zeros(0)
        if late.row.size:
            of_late = self.season.price_on(late.day, late.row)
        return Sales(
            day=self.first_day + np.concatenate([np.full(self.rows.size, gone), late.day]),
            rows=np.concatenate([self.rows, self.rows[late.row]]),
            price=np.concatenate([prices, of_late]),
            impressions=np.concatenate([day.impressions, np.zeros(late.row.size, np.int64)]),
            units=np.concatenate([day.reported, late.units]),
        )


def hold(stage: Stage, maker: Maker) -> Result:
    """Let a seller price the known listings, then the new ones, and score it on the new.

    Raises:
        ValueError: the seller asked for a price that is negative or not a number.
    """
    market = stage.market
    seller = maker(stage.knowledge, stage.seed)
    seconds, decisions = 0.0, 0
    if market.warm_days:
        seconds, decisions = trade(stage, seller, stage.known, market.warm_days, 0)
    season = stage.season(stage.new, market.conditions)
    run = _run(stage, season, stage.new, market.warm_days, seller)
    run.seconds, run.decisions = seconds, decisions
    return _scored(stage, run)


def trade(stage: Stage, seller: Seller, rows: Ints, days: int, first_day: int) -> tuple[float, int]:
    """Let a seller price listings for days on which nothing turns and no stock ends.

    Args:
        rows: of the listings, int64 (m,). first_day: of these days, counted from the trial's.

    Returns: processor time it took, seconds, and prices set.
    """
    quiet = replace(stage.market.conditions, days=days, turn_day=None, stock=None)
    run = _run(stage, stage.season(rows, quiet), rows, first_day, seller)
    for _ in run.days(lambda season, prices: None):
        pass
    return run.seconds, run.decisions


def _run(stage: Stage, season: Season, rows: Ints, first_day: int, seller: Seller) -> _Run:
    return _Run(season, rows, stage.calendar.arrival[rows], first_day, seller)


def _scored(stage: Stage, run: _Run) -> Result:
    season, ladders = run.season, stage.knowledge.ladders[run.rows]
    days, k = season.conditions.days, ladders.shape[1]
    ideal = _by_programme(stage) if season.stock is not None else None
    gain, best, best_rung = (np.zeros(days) for _ in range(3))
    path, best_path = (np.zeros((days, min(_SHOWN, run.rows.size))) for _ in range(2))
    first, arms, seen = np.zeros(2), np.zeros(k, np.int64), np.zeros(run.rows.size)

    def judge(season: Season, prices: Floats) -> tuple[Floats, Floats, Floats]:
        best_prices = season.best_prices()
        return season.gain(best_prices), season.gain(ladders).max(axis=1), best_prices

    for t, (judged, day, prices) in enumerate(run.days(judge)):
        shown = day.impressions
        of_best, of_rung, best_prices = judged[0] * shown, judged[1] * shown, judged[2]
        gain[t], best[t], best_rung[t] = day.expected.sum(), of_best.sum(), of_rung.sum()
        earned = day.expected
        if ideal is not None:  # what is taken in, beside what the programme takes in
            earned = prices * day.units
            gain[t], best[t], best_rung[t] = earned.sum(), ideal[0][t], ideal[0][t]
        young = _young(seen, shown)
        first += (young * earned).sum(), (young * of_best).sum()
        seen += shown
        nearest = np.abs(np.log(ladders / prices[:, None])).argmin(axis=1)
        arms += np.bincount(nearest, minlength=k)
        path[t], best_path[t] = prices[: path.shape[1]], best_prices[: path.shape[1]]
    if ideal is not None:
        first[1], best_path = ideal[1], ideal[2]
    return Result(
        gain,
        best,
        best_rung,
        float(first[0]),
        float(first[1]),
        arms,
        path,
        best_path,
        run.seconds,
        run.decisions,
    )


def _by_programme(stage: Stage) -> tuple[Floats, float, Floats]:
    """One who follows the exact programme over the ladders: takings of each day, (days,), and over
    each listing's first impressions, and prices of the listings shown, (days, shown).
    """
    season = stage.season(stage.new, stage.market.conditions)
    ladders = stage.knowledge.ladders[stage.new]
    programme = clairvoyant_programme(season, ladders)
    takings, first, path = np.zeros(season.conditions.days), 0.0, []
    seen = np.zeros(len(ladders))
    while not season.done:
        assert season.stock is not None
        prices, day = programme.price(season.day, season.stock), season.day
        sold = season.step(prices)
        taken = prices * sold.units
        takings[day] = taken.sum()
        first += float((_young(seen, sold.impressions) * taken).sum())
        seen += sold.impressions
        path.append(prices[:_SHOWN])
    return takings, first, np.array(path)


def _young(seen: Floats, shown: Ints) -> Floats:
    """Share of a day's impressions, (n,), that are among each listing's first."""
    share: Floats = np.clip(FIRST - seen, 0.0, shown) / np.maximum(shown, 1)
    return share
