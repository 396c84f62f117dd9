"""How busy a day is for all listings alike: demand over what is usual, told by other listings."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.evidence import DAY_US

GROUPS = 16
"""Parts that listings are divided into: what a day was to a listing is told by the other parts, so
that its own sales are never explained away."""

MOST = 20.0
"""Times, or parts, of the usual demand that a day is taken for at most."""

MEMORY = 4.0  # days after which a day counts half in what the next is expected to be
_WINDOW = 90  # days, the last that were told of, that tell how unlike days are
_SEASON = 28.0  # days after which a day counts half in what its weekday is
# days, the last told of, of whose sales some are yet to come, and those before them that tell how
# many come with their impressions
_COMING, _SETTLED = 7, 28
_SILENT = 10.0  # units expected of a day above which that none is told says that none is told yet
_AT_ONCE = 5.0  # units, supposed told with their impressions before any were
_SURGE, _FEW = 2.0, 5.0  # times what the others sell, and units beside, that a part may be off by
APART = 0.2  # log units by which the parts of a day differ by more than chance
_SUPPOSED = 0.1  # spread of days that a day's telling of it is weighed by
_BEFORE = 0.05  # spread before any day told of it
_LEAST = 1e-5  # variance of days that are all alike
_WIDEST = 0.7  # log units, that one day tells of the spread at most


_ALL = np.ones(GROUPS)  # a product with it adds parts up several times as fast as a sum over them


@dataclass(frozen=True, slots=True)
class _Told:
    """Units of days, told and expected, of all parts of the listings together, (d,) each."""

    units: NDArray[np.float64]
    expected: NDArray[np.float64]

    @classmethod
    def of(cls, parts: NDArray[np.float64]) -> "_Told":
        """Of `_parts`, (2, d, GROUPS)."""
        return cls(*(parts @ _ALL))

    def spread(self) -> float:
        """Variance of log day effects, of the last days alone."""
        last = np.flatnonzero(self.expected > 0)[-_WINDOW:]
        return spread_of(self.units[last], self.expected[last], _WIDEST, 1.0)


@dataclass(frozen=True, slots=True)
class _Past:
    """What days were, as far as they tell of those to come.

    Attributes:
        day: since 1970 UTC, those that were seen, int64 (d,). level: their log effects without
            what their weekdays are, (d,). weekday: log effect of days whose number leaves 0 … 6
            when divided by 7, beside the days around them, (7,).
    """

    day: NDArray[np.int64]
    level: NDArray[np.float64]
    weekday: NDArray[np.float64]

    @classmethod
    def of(cls, first: int, told: _Told) -> "_Past":
        """Of what was told from a first day on."""
        seen = told.expected > 0
        log_effect = np.log(shrunk(told.units, told.expected, 1.0, told.spread())) * seen
        of = (first + np.arange(len(seen))) % 7
        weekday = np.zeros(7)
        if len(seen) >= 7:
            week = np.convolve(log_effect, np.ones(7) / 7, "same")
            whole = np.convolve(seen, np.ones(7), "same") > 6.5  # days amid a week that was seen
            weight = whole * 0.5 ** (np.arange(len(seen))[::-1] / _SEASON)
            off = np.bincount(of, weight * (log_effect - week), 7)
            weekday = off / (np.bincount(of, weight, 7) + 1.0)  # as if one had been as all others
        return cls(first + np.flatnonzero(seen), (log_effect - weekday[of])[seen], weekday)


class DayEffects:
    r"""Sums over outcomes by day, and what each day was to all listings alike.

    Where units of a day have mean e d, e the units that listings are expected to sell on a usual
    day and d common to all of them with log d ~ N(0, σ²), d is about

        (Σ u + 1 / σ²) / (Σ e + 1 / σ²),

    a random effect of time, taken for Gamma, which is conjugate; σ² is learned by moments from all
    days. Without them a listing's own curve takes the difference between a busy day and a quiet one
    for the answer to that between their prices.

    Shops tell impressions at once, and some of the units, or all, hours or weeks later; what comes
    back is told later, too. Outcomes are read when they are told, so that a day is measured by
    what is told with impressions, against as much of what is expected as is usually told with them.
    Else each day would be found the quieter by what is yet to come, its impressions read as of
    fewer, and so curves the higher that the next are measured by, for ever.

    Attributes:
        first: the day, since 1970 UTC, that the first row of the sums is about.
        sums: units told with impressions, expected of a usual day, and told without, by day and
            part of the listings, float64 (3, days, GROUPS).
    """

    def __init__(self) -> None:
        self.first = 0
        self.sums = np.zeros((3, 0, GROUPS))
        self._past: _Past | None = None

    def restore(self, first: int, sums: NDArray[np.float64]) -> None:
        """Take over sums saved earlier."""
        self.first, self.sums, self._past = first, sums, None

    def spanning(self, low: int, high: int) -> NDArray[np.float64]:
        """The sums of days from `low` to `high`, which include all there are, as a copy."""
        sums = np.zeros((3, high - low + 1, GROUPS))
        start = self.first - low
        sums[:, start : start + self.sums.shape[1]] = self.sums
        return sums

    def add(
        self, listing: NDArray[np.int64], at: NDArray[np.int64], told: NDArray[np.float64]
    ) -> None:
        """Add outcomes.

        Args:
            listing: rows, (m,). at: microseconds since 1970 UTC, (m,).
            told: units with impressions, expected of a usual day, and units without, (3, m).
        """
        self.restore(*self._after(listing, at, told))

    def common(
        self,
        days: NDArray[np.int64],
        listing: NDArray[np.int64],
        at: NDArray[np.int64],
        told: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """What days since 1970 UTC were to all listings, once outcomes are added, 1 where nothing
        is known, and the share of what is sold that is told with impressions, (2, k).

        Args:
            listing, at, told: as `add` takes them.
        """
        first, sums = self._after(listing, at, told)
        found = np.ones((2, len(days)))
        place = days - first
        mine = (place >= 0) & (place < sums.shape[1])
        if mine.any():
            all_of = _Told.of(_parts(sums))
            effect = shrunk(all_of.units, all_of.expected, 1.0, all_of.spread())
            by_day = np.stack([np.where(all_of.expected > 0, effect, 1.0), _at_once(sums)])
            found[:, mine] = by_day[:, place[mine]]
        return found

    def _after(
        self, listing: NDArray[np.int64], at: NDArray[np.int64], told: NDArray[np.float64]
    ) -> tuple[int, NDArray[np.float64]]:
        """First day and sums once outcomes are added."""
        day, held = at // DAY_US, self.sums.shape[1]
        if not len(day):
            return self.first, self.sums
        low, high = int(day.min()), int(day.max())
        if held:
            low, high = min(low, self.first), max(high, self.first + held - 1)
        sums = self.spanning(low, high)
        place = day - low, listing % GROUPS
        for table, one in zip(sums, told, strict=True):
            np.add.at(table, place, one)
        return low, sums

    def forecast(self, at: NDArray[np.int64]) -> NDArray[np.float64]:
        """What days are expected to be, (n,): the mean log effect of those before them, and of what
        they told so far, the latest weighing most, and what their weekdays are beside the days
        around them; 1 without any.

        Args:
            at: microseconds since 1970 UTC, (n,).
        """
        if self._past is None:
            self._past = _Past.of(self.first, _Told.of(_parts(self.sums)))
        past, (days, place) = self._past, np.unique(at // DAY_US, return_inverse=True)
        ago = days[:, None] - past.day
        weight = np.where(ago >= 0, 0.5 ** (np.maximum(ago, 0) / MEMORY), 0.0)
        total = weight.sum(1)
        mean = np.divide(weight @ past.level, total, out=np.zeros(len(days)), where=total > 0)
        return np.asarray(np.exp(mean + past.weekday[days % 7])[place])

    def shown(
        self,
        listing: NDArray[np.int64],
        at: NDArray[np.int64],
        told: NDArray[np.float64],
        forecast: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """What the days of outcomes were to their listings, by all that is told once these are
        added, their own part's left out, (m,).

        Args:
            listing, at, told: as `add` takes them. forecast: what these days were expected to be,
                (m,).
        """
        first, sums = self._after(listing, at, told)
        parts, day = _parts(sums), at // DAY_US - first
        own, all_of = parts[:, day, listing % GROUPS], _Told.of(parts)
        units, expected = all_of.units[day] - own[0], all_of.expected[day] - own[1]
        return shrunk(units, expected, forecast, all_of.spread())


def _at_once(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of what is sold on each day that is told with impressions, of sums; 0 where it is yet
    to be told, (d,).
    """
    with_them, expected, later = sums
    days = np.flatnonzero(expected @ _ALL)
    settled = (days[:-_COMING] if len(days) > 2 * _COMING else days)[-_SETTLED:]
    told, more = with_them[settled].sum(), later[settled].sum()
    share = (told + _AT_ONCE) / max(told + more + _AT_ONCE, _AT_ONCE)
    share = np.clip(share, 0.0, MOST)
    # where buyers are so many, some would have bought: their sales are yet to be told
    silent = (with_them @ _ALL <= 0) & (share * (expected @ _ALL) > _SILENT)
    return np.where(silent, 0.0, share)


def _parts(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Units told with impressions, and expected to be, each part of the listings counting as much
    as it can tell of a day, (2, d, GROUPS).

    Parts are off by `APART` besides the chance of buyers: with e units expected, one of them is
    known to 1 / e + APART², and counts 1 / (1 + e APART²) times. Weighed so, what is told in all
    has the variance of what is expected in all, as counts have. A part that sells far more than the
    others, or less, has a listing that does: it counts for no more than `_SURGE` times what they
    sell, nor for less than they sell over it.
    """
    told = np.stack([sums[0], _at_once(sums)[:, None] * sums[1]])
    parts: NDArray[np.float64] = told / (1.0 + APART**2 * np.maximum(told[1], 0.0))
    # what is too much first, or the others would be measured by it
    parts[0] = np.minimum(parts[0], _usual(parts, np.inf) * _SURGE + _FEW)
    parts[0] = np.maximum(parts[0], _usual(parts, 0.0) / _SURGE - _FEW)
    return parts


def _usual(parts: NDArray[np.float64], unknown: float) -> NDArray[np.float64]:
    """Units of each part if it sold as all the others do, (d, GROUPS); `unknown` where of them next
    to none are expected.
    """
    told, expected = (parts @ _ALL)[:, :, None] - parts
    ratio = np.maximum(told, 0.0) / np.maximum(expected, _FEW)
    return np.where(expected > _FEW, ratio * parts[1], unknown)


def spread_of(
    units: NDArray[np.float64], expected: NDArray[np.float64], widest: float, well_known: float
) -> float:
    """Variance of the log of units over units expected, by moments: squares less what chance adds.

    Args:
        widest: log units, that one tells at most. well_known: as how many that are well known it
            weighs what was supposed before any told.
    """
    chance = 1.0 / (expected + 0.5)
    off = np.log((np.maximum(units, 0.0) + 0.5) / (expected + 0.5))
    weight = 1.0 / (chance + _SUPPOSED**2) ** 2
    before = well_known * _SUPPOSED**-4
    told = (weight * (np.minimum(off**2, widest**2) - chance)).sum()
    return float(max((told + before * _BEFORE**2) / (weight.sum() + before), _LEAST))


def shrunk(
    units: NDArray[np.float64],
    expected: NDArray[np.float64],
    forecast: NDArray[np.float64] | float,
    spread: float,
) -> NDArray[np.float64]:
    """Day effects by units told and expected, drawn towards a forecast, within `MOST`."""
    before = 1.0 / spread
    told = np.maximum(units, 0.0) + before * forecast
    return np.clip(told / (np.maximum(expected, 0.0) + before), 1.0 / MOST, MOST)
