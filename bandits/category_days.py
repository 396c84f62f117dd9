"""How busy a day is for the listings of a category, beside what it is for all listings alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bandits.days import APART, GROUPS, MEMORY, DayEffects, shrunk, spread_of
from bandits.evidence import DAY_US

DAYS = 16
"""Days that are kept, the latest that were told of."""

_WELL_KNOWN = 20.0  # days that what is supposed of the spread of categories' days weighs
_WIDEST = 1.0  # log units, that one day tells of the spread at most
_TOLD = 5.0  # units expected of a category on a day, below which it tells nothing of the spread
_CONSULTED = 500  # categories that tell of the spread, at most

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Told:
    """What was told of categories, with what their days were to all listings.

    Attributes:
        day: since 1970 UTC, ascending, (k,). common: what they were to all listings, (k,).
        units, expected: of each category, each part counting as much as it can tell of a day, as
            `DayEffects` has it, (c, k, GROUPS).
    """

    day: Ints
    common: Floats
    units: Floats
    expected: Floats

    @classmethod
    def of(cls, day: Ints, sums: Floats, common: Floats) -> "_Told":
        """Of sums (2, c, k, GROUPS) and `DayEffects.common` of their days, (2, k)."""
        effect, at_once = common
        expected = np.maximum(at_once[:, None] * sums[1], 0.0)
        counts = 1.0 / (1.0 + APART**2 * expected)
        return cls(day, effect, counts * sums[0], counts * expected)

    def spread(self) -> float:
        """Variance of the log of what days are to a category and not to all."""
        units, expected = self.units.sum(2), self.expected.sum(2) * self.common
        told = expected > _TOLD
        return spread_of(units[told], expected[told], _WIDEST, _WELL_KNOWN)

    def by_others(self) -> tuple[Floats, Floats]:
        """Units, and units expected, of the other parts of each part's category."""
        units, expected = (t.sum(2, keepdims=True) - t for t in (self.units, self.expected))
        return units, expected


@dataclass(frozen=True, slots=True)
class _Past:
    """What days were to categories and not to all: their logs as told by other parts, 0 where
    nothing is told, and whether anything is, (c, k, GROUPS); `day` as above.
    """

    day: Ints
    log: Floats
    told: Floats

    @classmethod
    def of(cls, told: _Told, spread: float) -> "_Past":
        """Of what was told."""
        units, expected = told.by_others()
        common = told.common[:, None]
        log = np.log(shrunk(units, expected, common, spread) / common)
        seen = expected > 0
        return cls(told.day, log * seen, seen.astype(np.float64))

    def expected(self, row: Ints, part: Ints, before: Ints) -> Floats:
        """Times what they are to all that days are expected to be to parts of categories: the mean
        of the days before them, the latest weighing most, (m,).
        """
        ago = before[:, None] - self.day  # (m, k)
        weight = np.where(ago > 0, 0.5 ** (np.maximum(ago, 0) / MEMORY), 0.0)
        # of listings' own categories and parts: there may be thousands of others
        total, mean = ((weight * t[row, :, part]).sum(1) for t in (self.told, self.log))
        return np.asarray(np.exp(np.divide(mean, total, out=np.zeros(len(row)), where=total > 0)))


class _SoFar:
    """What is told of categories so far, worked out for those that are asked about.

    Args:
        day, sums, common: as `_Told.of` takes them.

    Attributes:
        spread: variance of the log of what days are to a category and not to all.
    """

    def __init__(self, day: Ints, sums: Floats, common: Floats) -> None:
        self._sums, self._common = sums, common
        some = sums[:, :: max(1, -(-sums.shape[1] // _CONSULTED))]
        self.spread = _Told.of(day, some, common).spread()
        self._past = _Past(day, *np.zeros((2, *sums.shape[1:])))
        self._fresh = np.zeros(sums.shape[1], np.bool_)

    def past(self, category: Ints) -> _Past:
        """What days were to all categories, right for those that are given."""
        past, rows = self._past, np.unique(category)
        if len(rows := rows[~self._fresh[rows]]):
            told = _Told.of(past.day, self._sums[:, rows], self._common)
            found = _Past.of(told, self.spread)
            past.log[rows], past.told[rows], self._fresh[rows] = found.log, found.told, True
        return past


class CategoryDays:
    r"""Sums over outcomes by category and day, and what each day was to a category's listings.

    With D what a day was to all listings, and of a category u units told and e expected of a usual
    day, u has mean e D r, with r the category's own and log r ~ N(log f, τ²), f what r is expected
    to be by the days before. D r is about

        (Σ u + D f / τ²) / (Σ e + 1 / τ²),

    as `DayEffects` has it for all listings, and τ² one number, learned by moments from all
    categories, or an even stride of them. Without them flowers that sell in February are read as
    flowers whose buyers do not mind the price that they had in February.

    Args:
        shop: what days are to all listings, which has been told the same.

    Attributes:
        day: days since 1970 UTC that are kept, ascending, int64 (k,).
        sums: units told with impressions, and expected of a usual day, by category, day and part of
            its listings, float64 (2, categories, k, GROUPS).
    """

    def __init__(self, shop: DayEffects) -> None:
        self._shop = shop
        self.restore(np.empty(0, np.int64), np.zeros((2, 0, 0, GROUPS)))

    def restore(self, day: Ints, sums: Floats) -> None:
        """Take over sums saved earlier."""
        self.day, self.sums = day, sums
        self._known: _SoFar | None = None

    def add(self, listing: Ints, category: Ints, at: Ints, told: Floats) -> None:
        """Add outcomes; those of days before the ones that are kept are left out.

        Args:
            listing: rows, (m,). category: codes, -1 without one, int64 (m,).
            at: microseconds since 1970 UTC, (m,).
            told: as `DayEffects.add` takes it, (3, m).
        """
        self._known = None  # what days are to all listings is told by those without one, too
        mine = category >= 0
        if not mine.any():
            return
        day, count = at // DAY_US, self.sums.shape[1]
        if category.max() < count and np.isin(day[mine], self.day).all():
            rows = np.arange(count)
            _put(self.sums, rows, self.day, listing, category, day, told)
        else:
            rows = np.arange(max(int(category.max()) + 1, count))
            self.restore(*self._after(rows, listing, category, day, told))

    def forecast(self, listing: Ints, category: Ints, at: Ints) -> Floats:
        """Times what they are to all listings that days are expected to be to categories, as told
        by their other listings, (n,); 1 where nothing is known. Arguments as for `add`.
        """
        found = np.ones(len(listing))
        mine = (category >= 0) & (category < self.sums.shape[1])
        if mine.any():
            row, part, tomorrow = category[mine], listing[mine] % GROUPS, at[mine] // DAY_US + 1
            found[mine] = self._so_far().past(row).expected(row, part, tomorrow)
        return found

    def shown(self, listing: Ints, category: Ints, at: Ints, told: Floats, usual: Floats) -> Floats:
        """What the days of outcomes were to their listings, by all that is told once these are
        added to the shop and here, their own part's left out, (m,).

        Args:
            listing, category, at, told: as `add` takes them. usual: what these days were to all
                listings, (m,).
        """
        found, day = usual.copy(), at // DAY_US
        rows = np.unique(category[category >= 0])
        if not len(rows):
            return found
        days, sums = self._after(rows, listing, category, day, told)
        now = _Told.of(days, sums, self._shop.common(days, listing, at, told))
        spread = self._so_far().spread
        mine = (category >= 0) & (day >= days[0])
        row, part, day = np.searchsorted(rows, category[mine]), listing[mine] % GROUPS, day[mine]
        before = usual[mine] * _Past.of(now, spread).expected(row, part, day)
        place = row, np.searchsorted(days, day), part
        units, expected = (t[place] for t in now.by_others())
        found[mine] = shrunk(units, expected, before, spread)
        return found

    def laid_out(self, rows: Ints, days: Ints) -> Floats:
        """The sums of categories `rows` and `days`, both ascending, 0 where there are none, as a
        copy.
        """
        sums = np.zeros((2, len(rows), len(days), GROUPS))
        known, kept = rows[rows < self.sums.shape[1]], np.isin(self.day, days)
        held = self.sums[:, known][:, :, kept]
        sums[:, : len(known), np.searchsorted(days, self.day[kept])] = held
        return sums

    def _so_far(self) -> _SoFar:
        if self._known is None:
            nothing = np.empty(0, np.int64)
            common = self._shop.common(self.day, nothing, nothing, np.empty((3, 0)))
            self._known = _SoFar(self.day, self.sums, common)
        return self._known

    def _after(
        self, rows: Ints, listing: Ints, category: Ints, day: Ints, told: Floats
    ) -> tuple[Ints, Floats]:
        """Days that are kept, and sums of categories `rows`, ascending, once outcomes are added."""
        days = np.union1d(self.day, day[category >= 0])[-DAYS:]
        sums = self.laid_out(rows, days)
        _put(sums, rows, days, listing, category, day, told)
        return days, sums


def _put(
    sums: Floats, rows: Ints, days: Ints, listing: Ints, category: Ints, day: Ints, told: Floats
) -> None:
    """Add outcomes to sums of categories `rows` and `days`, those of earlier days left out."""
    mine = (category >= 0) & (day >= days[0])
    place = np.searchsorted(rows, category[mine]), np.searchsorted(days, day[mine])
    for table, one in zip(sums, told[:2, mine], strict=True):
        np.add.at(table, (*place, listing[mine] % GROUPS), one)
