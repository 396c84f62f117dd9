"""What the peers are told: the features this project's policy reads, and each listing's own sales.

Every peer gets the same context of a listing and day (`context`), the same description of a price
(`offers`) and the same labels (`Journal.labels`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bandits.features import TEXT_DIMENSIONS, reduce
from evaluation.sellers.protocol import Floats, Ints, Sales, Today, counted_cost, places
from markets import Knowledge

CONTEXT = (
    "one",
    *(f"text_{i}" for i in range(TEXT_DIMENSIONS)),
    "log_guess",
    "guess_sd",
    "reference_known",
    "cost_known",
    "cost_share",
    "similarity",
    "rival_known",
    "rival_over_guess",
    "promotion",
    "stock_known",
    "stock_a_day",
    "weekday_sin",
    "weekday_cos",
    "year_sin",
    "year_cos",
    "days_on_sale",
    "own_rate",
    "own_impressions",
    "own_price",
    "own_lean",
)
"""Names of the context's features, in order. "own_" ones come from the listing's own sales."""

OFFER = ("price", "price_squared", "margin", "margin_price", "margin_price_squared", "over_rival")
"""Names of a price's features, in order: log price relative to the guess, unit profit at it."""

_PRIOR_UNITS = 2.0  # what the catalogue's rate counts for beside a listing's own, units sold
_PRIOR_RATE = 0.05  # units per impression before anything has been shown at all


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What was tried and what it earned, one row per listing and day shown.

    Attributes:
        place: place among the listings of its day, int64 (m,).
        x: context, (m, CONTEXT). arm: rung charged, int64 (m,).
        gain: profit per impression, in units of guessed price times the listing's own rate, (m,):
            about the relative margin, whatever the currency and however often it sells.
        demand: units per impression over the listing's own rate, (m,).
        weight: units expected at the listing's own rate, (m,): the variance of `gain` and
            `demand` is inverse to it.
    """

    place: Ints
    x: Floats
    arm: Ints
    gain: Floats
    demand: Floats
    weight: Floats


class Journal:
    """Contexts that were priced, and what each listing has sold so far.

    Units reported late are added to the day they were sold on.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._knowledge = knowledge
        self._cost = counted_cost(knowledge)
        self._guess = np.exp(knowledge.guess)
        text = reduce(np.ascontiguousarray(knowledge.vectors, np.float32), TEXT_DIMENSIONS)
        self._text = text.astype(np.float64)  # (n, TEXT_DIMENSIONS)
        self._middle = float(np.median(knowledge.guess))
        n = knowledge.guess.size
        self._first = np.full(n, np.iinfo(np.int64).max)
        # own sales: impressions, units, gain, and the first and last times log price, (n,) each
        self._shown, self._units, self._gain, self._at, self._gain_at = np.zeros((5, n))
        self._start: dict[int, int] = {}
        self._rows: list[Ints] = []
        self._x: list[Floats] = []
        self._arm: list[Ints] = []
        self._sold: list[Floats] = []  # impressions, units and gain of each day, (m, 3)

    # -- what a price is set from -----------------------------------------------------------

    def context(self, today: Today) -> Floats:
        """Features of today's listings, (m, CONTEXT)."""
        known, rows = self._knowledge, today.rows
        self._first[rows] = np.minimum(self._first[rows], today.day)
        guess, cost = known.guess[rows], known.unit_cost[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            cost_share = np.clip(np.log(cost) - guess, -3.0, 1.0)
            rival = np.clip(np.log(today.rival) - guess, -2.0, 2.0)
        stock = np.zeros(rows.size) if today.stock is None else today.stock
        weekday, year = (2 * np.pi * (today.date % c) / c for c in (7, 365.2425))
        shown = self._shown[rows]
        rate, common = self.rate(rows), self._common()
        columns = (
            (guess - self._middle) / 2.0,
            known.guess_sd[rows],
            np.isfinite(known.reference[rows]),
            np.isfinite(cost),
            cost_share,
            known.similarity[rows, 0],
            np.isfinite(today.rival),
            rival,
            today.promotion,
            np.full(rows.size, today.stock is not None),
            np.log1p(stock / max(today.days_left, 1)) / 3.0,
            np.sin(weekday),
            np.cos(weekday),
            np.sin(year),
            np.cos(year),
            np.log1p(today.day - self._first[rows]) / 3.0,
            np.log(rate / common) / 2.0,
            np.log1p(shown) / 7.0,
            self._at[rows] / np.maximum(shown, 1.0),
            self._lean(rows),
        )
        out = np.empty((rows.size, len(CONTEXT)))
        out[:, 0] = 1.0
        out[:, 1 : 1 + TEXT_DIMENSIONS] = self._text[rows]
        out[:, 1 + TEXT_DIMENSIONS :] = np.nan_to_num(np.stack(columns, axis=1))
        return out

    def offers(self, today: Today) -> Floats:
        """Features of today's ladders, (m, k, OFFER)."""
        known, rows = self._knowledge, today.rows
        log_price = np.log(known.ladders[rows])  # (m, k)
        price = np.clip(log_price - known.guess[rows, None], -2.5, 2.5)
        over = np.clip(log_price - np.log(today.rival)[:, None], -2.0, 2.0)
        margin = self.margins(rows)
        square = price**2
        columns = (price, square, margin, margin * price, margin * square, np.nan_to_num(over))
        return np.stack(columns, axis=2)

    def margins(self, rows: Ints) -> Floats:
        """Unit profit at each rung over the guessed price, (m, k)."""
        over_cost = self._knowledge.ladders[rows] - self._cost[rows, None]
        margins: Floats = over_cost / self._guess[rows, None]
        return margins

    # -- what is learned from ---------------------------------------------------------------

    def wrote(self, today: Today, x: Floats, arm: Ints) -> None:
        """Remember what was charged: contexts (m, CONTEXT), rungs int64 (m,)."""
        self._start[today.day] = len(self._rows)
        self._rows.append(today.rows)
        self._x.append(x)
        self._arm.append(arm)
        self._sold.append(np.zeros((today.rows.size, 3)))

    def sold(self, sales: Sales) -> None:
        """Take in a day's sales, and late units of earlier days."""
        rows, shown = sales.rows, sales.impressions.astype(np.float64)
        units = sales.units.astype(np.float64)
        gain = units * (sales.price - self._cost[rows]) / self._guess[rows]
        price = np.clip(np.log(sales.price) - self._knowledge.guess[rows], -2.5, 2.5)
        for total, more in (
            (self._shown, shown),
            (self._units, units),
            (self._gain, gain),
            (self._at, shown * price),
            (self._gain_at, gain * price),
        ):
            np.add.at(total, rows, more)
        for day in np.unique(sales.day).tolist():
            number, of_day = self._start[day], np.flatnonzero(sales.day == day)
            place = places(self._rows[number], rows[of_day])
            more = np.stack([shown[of_day], units[of_day], gain[of_day]], axis=1)
            np.add.at(self._sold[number], place, more)

    def labels(self, day: int | None = None) -> Labels:
        """Labels of all days so far, or of one; listing-days never shown are left out."""
        days = range(len(self._rows)) if day is None else [self._start[day]]
        sold = np.concatenate([self._sold[t] for t in days])
        seen = sold[:, 0] > 0
        rate = self.rate(np.concatenate([self._rows[t] for t in days])[seen])
        shown, units, gain = sold[seen].T
        weight = shown * rate
        return Labels(
            np.concatenate([np.arange(self._rows[t].size) for t in days])[seen],
            np.concatenate([self._x[t] for t in days])[seen],
            np.concatenate([self._arm[t] for t in days])[seen],
            gain / weight,
            units / weight,
            weight,
        )

    def rate(self, rows: Ints) -> Floats:
        """Units per impression of listings so far, drawn towards the catalogue's, (m,)."""
        common = self._common()
        own = self._units[rows] + _PRIOR_UNITS
        rate: Floats = own / (self._shown[rows] + _PRIOR_UNITS / common)
        return rate

    def _common(self) -> float:
        units = self._units.sum() + _PRIOR_UNITS
        return float(units / (self._shown.sum() + _PRIOR_UNITS / _PRIOR_RATE))

    def _lean(self, rows: Ints) -> Floats:
        """How much dearer than shown the profit was made, log units, drawn towards none, (m,)."""
        shown, gain = self._shown[rows], self._gain[rows]
        shown_at = self._at[rows] / np.maximum(shown, 1.0)
        prior = _PRIOR_UNITS * 0.5  # gain of two units at a margin of half the guess
        lean: Floats = (self._gain_at[rows] - gain * shown_at) / (gain + prior)
        return lean
