"""Listings with a max_step that are asked about several times at once."""

import numpy as np
from numpy.typing import NDArray

from service.bounds import Key
from service.subjects import Subjects

_NOBODY = np.empty(0, np.int64)


class Steps:
    """Which requests wait for others: a step counts from the price that was decided just before.

    Only recorded decisions count. Requests that say a `current_price` wait for nobody, though
    others may for them.

    Args:
        subjects: n requests in their order; `note` changes their `last_price`.
        recorded: (n,).
        keys: row → what its price is held for, of rows in families.

    Attributes:
        turn: requests of one turn may be priced together, after those of lower ones, int64 (n,).
    """

    def __init__(
        self, subjects: Subjects, recorded: NDArray[np.bool_], keys: dict[int, Key]
    ) -> None:
        self._subjects = subjects
        self.turn = np.zeros(len(subjects), np.int64)
        limited = ~np.isnan(subjects.number["max_step"]) & (subjects.listing >= 0)
        rows = np.flatnonzero(limited)
        listing, again = np.unique(subjects.listing[rows], return_inverse=True)
        self._rows = self._first = _NOBODY
        if len(listing) == len(rows):
            return
        # by listing, what-ifs last; where each listing begins
        order = np.lexsort((~recorded[rows], again))
        self._rows = rows[order]
        self._first = np.searchsorted(again[order], again[order])
        self._decided = np.full(len(subjects), np.nan)
        waits = limited & recorded & np.isnan(subjects.current_price)
        self.turn[self._rows] = np.arange(len(rows)) - self._first
        self.turn[~waits] = 0
        _follow(self.turn, waits, recorded & ~limited, keys)

    def note(self, rows: NDArray[np.int64], price: NDArray[np.int64]) -> None:
        """Note recorded decisions: those after them on their listings start from their prices.

        Args:
            rows: (m,). price: minor units, (m,).
        """
        if not self._rows.size:
            return
        subjects, mine = self._subjects, self._rows
        self._decided[rows] = price / subjects.per_major[rows]
        place = np.arange(len(mine))
        before = np.maximum.accumulate(np.where(np.isnan(self._decided[mine]), -1, place))
        before = np.concatenate([[-1], before[:-1]])
        later = before >= self._first
        subjects.last_price[mine[later]] = self._decided[mine[before[later]]]


def _follow(
    turn: NDArray[np.int64],
    waits: NDArray[np.bool_],
    free: NDArray[np.bool_],
    keys: dict[int, Key],
) -> None:
    """Let members of a family that are free to wait join the first that has to, (n,) each: they
    agree on one price.
    """
    first: dict[Key, int] = {}
    for row, key in keys.items():
        if waits[row]:
            first[key] = min(first.get(key, turn[row]), turn[row])
    for row, key in keys.items():
        if free[row]:
            turn[row] = first.get(key, 0)
