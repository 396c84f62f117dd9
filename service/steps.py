"""Listings with a max_step that are asked about several times at once."""

import numpy as np
from numpy.typing import NDArray

from service.bounds import Key
from service.subjects import Subjects

_NOBODY = np.empty(0, np.int64)


class Steps:
    """In what order requests are priced: a step counts from the price that was decided before.

    Only recorded decisions count. A listing's requests that say a `current_price` come first; then
    the first of the others, which may use the whole step; then the rest of them together, however
    many. Those that are priced together start from one price p and step by at most
    1 - 1 / √(1 + max_step) each: between p / √(1 + max_step) and p √(1 + max_step), no price is
    more than max_step off another.

    Args:
        subjects: n requests in their order; their `last_price` and `max_step` are changed.
        recorded: (n,).
        keys: row → what its price is held for, of rows in families.

    Attributes:
        turn: requests of one turn may be priced together, after those of lower ones, int64 (n,).
    """

    def __init__(
        self, subjects: Subjects, recorded: NDArray[np.bool_], keys: dict[int, Key]
    ) -> None:
        self._subjects, self._recorded = subjects, recorded
        self.turn = np.zeros(len(subjects), np.int64)
        step = subjects.number["max_step"]
        limited = ~np.isnan(step) & (subjects.listing >= 0)
        rows = np.flatnonzero(limited)
        listing, again = np.unique(subjects.listing[rows], return_inverse=True)
        self._rows = self._first = _NOBODY
        if len(listing) == len(rows):
            return
        # by listing, what-ifs last; where each listing begins
        order = np.lexsort((~recorded[rows], again))
        self._rows, number = rows[order], again[order]
        self._first = np.searchsorted(number, number)
        self._decided = np.full(len(subjects), np.nan)
        said = ~np.isnan(subjects.current_price)
        waits = limited & recorded & ~said
        here = waits[self._rows]
        earlier: NDArray[np.int64] = np.cumsum(here) - here
        later: NDArray[np.bool_] = earlier > earlier[self._first]
        after_said = np.bincount(number, (said & recorded)[self._rows]) > 0
        self.turn[self._rows[here]] = (after_said[number].astype(np.int64) + later)[here]
        _together(self.turn, waits, recorded & ~limited, keys)
        # those of a listing that share a turn
        mine = self._rows[here]
        pair = np.stack([subjects.listing[mine], self.turn[mine]])
        of, count = np.unique(pair, axis=1, return_inverse=True, return_counts=True)[1:]
        crowded = mine[count[of.reshape(-1)] > 1]
        step[crowded] = 1.0 - 1.0 / np.sqrt(1.0 + step[crowded])

    def note(self, rows: NDArray[np.int64], price: NDArray[np.int64]) -> None:
        """Note recorded decisions: what is priced in later turns, and what-ifs, start from them.

        Args:
            rows: of one turn, (m,). price: minor units, (m,).
        """
        if not self._rows.size:
            return
        subjects, mine = self._subjects, self._rows
        self._decided[rows] = price / subjects.per_major[rows]
        place = np.arange(len(mine))
        before = np.maximum.accumulate(np.where(np.isnan(self._decided[mine]), -1, place))
        before = np.concatenate([[-1], before[:-1]])
        open_yet = (self.turn[mine] > self.turn[rows].max(initial=-1)) | ~self._recorded[mine]
        later = (before >= self._first) & open_yet
        subjects.last_price[mine[later]] = self._decided[mine[before[later]]]


def _together(
    turn: NDArray[np.int64],
    waits: NDArray[np.bool_],
    free: NDArray[np.bool_],
    keys: dict[int, Key],
) -> None:
    """Let members of a family wait for the one that has to wait longest, (n,) each: they agree on
    one price.
    """
    last: dict[Key, int] = {}
    for row, key in keys.items():
        if waits[row]:
            last[key] = max(last.get(key, 0), int(turn[row]))
    for row, key in keys.items():
        if waits[row] or free[row]:
            turn[row] = last.get(key, 0)
