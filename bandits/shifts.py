"""By how much all listings are worth more to buyers than they were, or less, told by all."""

import numpy as np
from numpy.typing import NDArray

from bandits.days import APART, GROUPS
from bandits.evidence import DAY_US

DAYS = 16
"""Days that are kept, the latest that were told of."""

ELASTICITIES = np.geomspace(0.5, 8.0, 25)
"""By which outcomes are sorted, to the nearest."""

LIKELY = 9.0
"""Squared deviations of a shift off none at which it is as likely real as chance."""

_EDGES = np.sqrt(ELASTICITIES[1:] * ELASTICITIES[:-1])
_SHAPE = 1.5  # of demand curves, on average
_MEMORY = 1.3  # days after which a day counts half in what listings are worth now
_LEAST, _MOST = -1.5, 0.4  # shifts that are believed, log units per unit of elasticity
_SUPPOSED = 0.5  # spread of shifts before any outcome told of one
_APART = 0.2  # by which the parts of the listings differ in it besides chance
_NEW = 7  # days for which what is usual is not known
_STEPS = 8  # of Newton's method

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def factor(worth: Floats, elasticity: Floats) -> Floats:
    """What demand is multiplied by where listings are worth exp(`worth`) times the usual, (m,), at
    elasticities on a usual day, (m,); 1 where one is NaN.

    Curves of the bank have f(p e^−δ) = f(p) exp(ε (1 − e^−κδ) / κ), ε the elasticity at p.
    """
    by = -np.expm1(-_SHAPE * worth) / _SHAPE
    return np.asarray(np.exp(np.where(np.isnan(elasticity), 0.0, by * elasticity)))


class CommonShift:
    r"""Sums over outcomes by day, and how far worths have moved for all listings alike.

    A day that is quiet for all listings, and one on which all are worth less, are told apart by
    elasticities: what is worth e^δ times as much sells exp(x ε) times as much, ε the elasticity at
    its price on a usual day (`factor`). So units told, with e expected of a usual day, are Poisson
    with mean e d exp(x ε): d of each day alone, x of all, the latest weighing most. x is the most
    likely, with N(0, `_SUPPOSED`²) before. Its error is what the sixteen parts of the listings
    differ by around it (a sandwich; Liang & Zeger, "Longitudinal data analysis using generalized
    linear models", Biometrika 1986), no less than the chance of counts, and `_APART` of each. A
    shift is rare: x is taken times the probability that it is none of chance's,
    1 / (1 + exp((`LIKELY` − z²) / 2)), z of these errors off 0.

    Attributes:
        day: days since 1970 UTC that are kept, ascending, int64 (k,).
        sums: units told and expected by day, part of the listings and elasticity, float64
            (2, k, GROUPS, 25).
    """

    def __init__(self) -> None:
        self.restore(np.empty(0, np.int64), np.zeros((2, 0, GROUPS, len(ELASTICITIES))))

    def restore(self, day: Ints, sums: Floats) -> None:
        """Take over sums saved earlier."""
        self.day, self.sums = day, sums
        self._forecast: dict[int, float] = {}

    def add(self, listing: Ints, at: Ints, told: Floats, elasticity: Floats) -> None:
        """Add outcomes; those of days before the ones that are kept are left out.

        Args:
            listing: rows, (m,). at: microseconds since 1970 UTC, (m,).
            told: as `DayEffects.add` takes it, (3, m). elasticity: (m,), NaN where not known.
        """
        self.restore(*self._after(listing, at, told, elasticity))

    def forecast(self, at: Ints) -> Floats:
        """Log of what listings are expected to be worth on days over the usual, by those before
        and what they told so far, (n,); `at` as above.
        """
        days, place = np.unique(at // DAY_US, return_inverse=True)
        known = self._forecast
        if missing := [day for day in days.tolist() if day not in known]:
            found = _worth(self.day, self.sums, np.array(missing), None)
            known.update(zip(missing, found.tolist(), strict=True))
        return np.array([known[day] for day in days.tolist()])[place]

    def shown(self, listing: Ints, at: Ints, told: Floats, elasticity: Floats) -> Floats:
        """Log of what listings were worth on the days of outcomes over the usual, once these are
        added, as the other parts of the listings tell it, (m,); arguments as for `add`.
        """
        after = self._after(listing, at, told, elasticity)
        return _worth(*after, at // DAY_US, listing % GROUPS)

    def laid_out(self, days: Ints) -> Floats:
        """The sums of `days`, ascending, 0 where there are none, as a copy."""
        sums = np.zeros((2, len(days), *self.sums.shape[2:]))
        kept = np.isin(self.day, days)
        sums[:, np.searchsorted(days, self.day[kept])] = self.sums[:, kept]
        return sums

    def _after(
        self, listing: Ints, at: Ints, told: Floats, elasticity: Floats
    ) -> tuple[Ints, Floats]:
        """Days that are kept and their sums once outcomes are added."""
        day, mine = at // DAY_US, ~np.isnan(elasticity)
        days = np.union1d(self.day, day[mine])[-DAYS:]
        sums = self.laid_out(days)
        mine &= day >= days.min(initial=np.iinfo(np.int64).max)
        place = (
            np.searchsorted(days, day[mine]),
            listing[mine] % GROUPS,
            np.searchsorted(_EDGES, elasticity[mine]),
        )
        # a listing is off by more than the chance of its buyers, however many they are
        counts = 1.0 / (1.0 + APART**2 * np.abs(told[1, mine]))
        for table, one in zip(sums, told[:2, mine], strict=True):
            np.add.at(table, place, counts * one)
        return days, sums


def _worth(day: Ints, sums: Floats, asked: Ints, own: Ints | None) -> Floats:
    """Log worth over the usual on days asked for, by all parts but the `own` ones if given, (m,)
    each."""
    days, place = np.unique(asked, return_inverse=True)
    ago = days[:, None] - day
    weight = np.where(ago >= 0, 0.5 ** (np.maximum(ago, 0) / _MEMORY), 0.0)  # (b, k)
    units, expected = np.maximum(sums, 0.0)  # (k, GROUPS, e)
    of_all, usual = units.sum(1), expected.sum(1)  # (k, e)
    before = _SUPPOSED**-2

    def shifted(x: Floats) -> tuple[Floats, Floats]:
        """What is expected is multiplied by, (b, k, e), and how far elasticities are off the mean
        of what is sold, (b, k, e)."""
        times = np.exp(x[:, None, None] * ELASTICITIES)
        mean = times * usual
        total = np.maximum(mean.sum(2, keepdims=True), 1e-9)
        times = times * (of_all.sum(1)[:, None] / total)
        return times, ELASTICITIES - (mean @ ELASTICITIES)[..., None] / total

    x = np.zeros(len(days))
    for _ in range(_STEPS):
        times, off = shifted(x)
        mean = times * usual
        pull = np.einsum("bk,bke->b", weight, (of_all - mean) * off)
        known = np.einsum("bk,bke->b", weight, mean * off**2)
        x = np.clip(x + (pull - before * x) / (known + before), _LEAST, _MOST)
    times, off = shifted(x)
    # of each part: what it moves the shift by, what it knows of it, and by how much it errs
    pulls = np.einsum("bk,kge,bke->bg", weight, units, off)
    pulls -= np.einsum("bk,bke,kge->bg", weight, times * off, expected)
    knows, chance = (
        np.einsum("bk,bke,kge->bg", w, times * off**2, expected) for w in (weight, weight**2)
    )
    errs = np.maximum(pulls**2, chance) + (_APART * knows) ** 2
    known, error, x = knows.sum(1)[place] + before, errs.sum(1)[place], x[place]
    if own is not None:
        known = known - knows[place, own]
        error = error - errs[place, own]
        x = x - pulls[place, own] / known  # one step of Newton's
    square = (known * x) ** 2 / np.maximum(error, 1e-9)
    x = np.clip(x, _LEAST, _MOST) / (1.0 + np.exp(np.clip(0.5 * (LIKELY - square), -50.0, 50.0)))
    # at first all curves are off, and that by their elasticities
    x = np.where(asked - day.min(initial=np.iinfo(np.int64).max) > _NEW, x, 0.0)
    return np.asarray(-np.log1p(-_SHAPE * x) / _SHAPE)
