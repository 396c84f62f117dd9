"""Predict, then optimise: boosted trees of demand, refitted as sales come in."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingRegressor

from evaluation.sellers.attributes import attributes, own_sales
from evaluation.sellers.protocol import Floats, Ints, Sales, Today, places, rungs
from evaluation.sellers.tally import Tally, earnings
from markets import Knowledge
from markets.calendar import weekday


class Predictive:
    """The rung with the highest earnings under a model of demand, with a little price variation.

    Predict-then-optimise as in Ferreira, Lee and Simchi-Levi, "Analytics for an online retailer:
    demand forecasting and price optimization", Manufacturing & Service Operations Management 2016:
    regression trees on price, product and time, and the best price of a list under the forecast.
    Boosted Poisson trees in place of bagged ones; demand never rises with price. The target is
    units per impression, weighted by impressions. Units reported late are added to their day.

    Features: log of price over guess; `attributes`; `own_sales` as they were that morning; mean
    log price so far over guess; day of the week; promotion; log of the rival's price over guess.
    Until the first fit the first rung at or above the guessed price is charged.

    Attributes:
        components: of the texts. every: days between fits. rows: most listing-days fitted to,
            the latest ones. trees, leaves, rate, least, bins: as `HistGradientBoostingRegressor`
            names max_iter, max_leaf_nodes, learning_rate, min_samples_leaf and max_bins.
        vary: share of prices that are moved one or two rungs up or down, without which a shop's
            data would not tell price from product; `vary_new` in a listing's first `new` days.
    """

    components = 12
    every = 3
    rows = 40_000
    trees, leaves, rate, least, bins = 150, 16, 0.1, 40, 32
    vary, vary_new, new = 0.05, 0.3, 4

    def __init__(self, knowledge: Knowledge, seed: int) -> None:
        self._knowledge, self._tally = knowledge, Tally(knowledge)
        self._stream, self._seed = np.random.default_rng(seed), seed
        self._fixed = attributes(knowledge, self.components)
        self._log_price = np.zeros(len(self._fixed))  # sum over days of log price over guess
        self._model: HistGradientBoostingRegressor | None = None
        self._fitted = -1
        # by day: rows, features, impressions, units
        self._days: dict[int, tuple[Ints, npt.NDArray[np.float32], Floats, Floats]] = {}

    def price(self, today: Today) -> Floats:
        """Forecast every rung, take the best, vary."""
        rows, tally = today.rows, self._tally
        m, k = rows.size, self._knowledge.ladders.shape[1]
        context = self._context(today)
        log_ratio = np.log(tally.ratio[rows])
        if self._model is None or m == 0:
            arm = (log_ratio < -1e-3).sum(axis=1).clip(max=k - 1)
        else:
            table = np.empty((m, k, 1 + context.shape[1]), np.float32)
            table[:, :, 0], table[:, :, 1:] = log_ratio, context[:, None]
            demand = self._model.predict(table.reshape(m * k, -1)).reshape(m, k)
            worth = earnings(self._knowledge, today, demand, tally.traffic(rows))
            arm = worth.argmax(axis=1)
        arm = self._varied(arm, rows, k)
        charged = log_ratio[np.arange(m), arm]
        self._log_price[rows] += charged
        features = np.column_stack([charged, context]).astype(np.float32)
        self._days[today.day] = (rows, features, np.zeros(m), np.zeros(m))
        return rungs(self._knowledge, rows, arm)

    def learn(self, sales: Sales) -> None:
        """Keep the day; fit when it is time."""
        for day in np.unique(sales.day).tolist():
            if day in self._days:
                rows, _, shown, units = self._days[day]
                of_day = np.flatnonzero(sales.day == day)
                place = places(rows, sales.rows[of_day])
                np.add.at(shown, place, sales.impressions[of_day])
                np.add.at(units, place, sales.units[of_day])
        self._tally.add(sales)
        last = max(self._days, default=-1)
        if last >= 0 and (self._model is None or last - self._fitted >= self.every):
            self._fit(last)

    def _context(self, today: Today) -> Floats:
        """All features but the price, (m, f)."""
        rows = today.rows
        mean = self._log_price[rows] / np.maximum(self._tally.days[rows], 1.0)
        rival = np.where(today.rival > 0.0, today.rival, np.nan)
        columns = (
            self._fixed[rows],
            own_sales(self._tally, rows),
            mean,
            weekday(today.date),
            today.promotion,
            np.log(rival) - self._knowledge.guess[rows],
        )
        return np.column_stack(columns)

    def _varied(self, arm: Ints, rows: Ints, k: int) -> Ints:
        share = np.where(self._tally.days[rows] < self.new, self.vary_new, self.vary)
        moved = self._stream.random(rows.size) < share
        step = self._stream.choice([-2, -1, 1, 2], rows.size)
        return np.clip(np.where(moved, arm + step, arm), 0, k - 1)

    def _fit(self, last: int) -> None:
        kept, room = [], self.rows
        for day in sorted(self._days, reverse=True):
            if room > 0:
                kept.append(self._days[day])
                room -= self._days[day][0].size
            else:
                del self._days[day]
        features, shown, units = (np.concatenate([day[i] for day in kept]) for i in (1, 2, 3))
        seen = shown > 0.0
        if not (units[seen] > 0.0).any():
            return
        features[:, np.isnan(features[seen]).all(axis=0)] = 0.0  # nothing to bin there
        model = HistGradientBoostingRegressor(
            loss="poisson",
            max_iter=self.trees,
            max_leaf_nodes=self.leaves,
            learning_rate=self.rate,
            min_samples_leaf=self.least,
            max_bins=self.bins,
            monotonic_cst=[-1] + [0] * (features.shape[1] - 1),
            early_stopping=False,
            random_state=self._seed % (1 << 32),
        )
        model.fit(features[seen], units[seen] / shown[seen], sample_weight=shown[seen])
        self._model, self._fitted = model, last
