"""When sales become known: some at once, some later, some never."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from markets import chance
from markets.conditions import Conditions
from markets.demand import Ints

# What a number of `chance` is for.
_PROMPT, _DELAY, _LOST = 3, 4, 5


@dataclass(frozen=True, slots=True)
class Late:
    """Units reported after their day: int64 (m,) each.

    Attributes:
        row: the listing. day: the day of the season they were sold. units: how many.
    """

    row: Ints
    day: Ints
    units: Ints


class Reports:
    """Sales on their way to whoever prices, under `conditions.prompt`, `delay` and `lost`.

    Args:
        keys: of the listings, uint64 (n,).
    """

    def __init__(self, conditions: Conditions, keys: chance.Keys) -> None:
        self._conditions, self._keys = conditions, keys
        self._due: dict[int, list[Late]] = {}

    def of(self, day: int, units: Ints) -> tuple[Ints, Late]:
        """Units of `day` known on that day, int64 (n,), and units of earlier days known now.

        Args:
            units: sold that day, int64 (n,).
        """
        known = units
        if self._conditions.prompt < 1.0:
            share = np.full(units.size, self._conditions.prompt)
            known = chance.binomial(chance.uniform(self._keys, _PROMPT, day), units, share)
            self._put_down(day, units - known)
        return known, _joined(self._due.pop(day, []))

    def _put_down(self, day: int, rest: Ints) -> None:
        row = np.flatnonzero(rest > 0)
        if self._conditions.lost > 0.0:
            row = row[chance.uniform(self._keys[row], _LOST, day) >= self._conditions.lost]
        # geometric on 1, 2, ... with the given mean
        stay = 1.0 - 1.0 / self._conditions.delay
        wait = np.ones(row.size, np.int64)
        if stay > 0.0:
            u = chance.uniform(self._keys[row], _DELAY, day)
            wait += np.floor(np.log(u) / np.log(stay)).astype(np.int64)
        for days in np.unique(wait).tolist():
            due = row[wait == days]
            late = Late(due, np.full(due.size, day), rest[due])
            self._due.setdefault(day + days, []).append(late)


def _joined(parts: list[Late]) -> Late:
    if not parts:
        nothing = np.zeros(0, np.int64)
        return Late(nothing, nothing, nothing)
    return Late(*(np.concatenate([getattr(p, name) for p in parts]) for name in Late.__slots__))
