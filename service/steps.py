"""Listings with a max_step that are asked about several times at once."""

import numpy as np
from numpy.typing import NDArray

from service.bounds import Key
from service.subjects import Subjects

_NOBODY = np.empty(0, np.int64)
_SAYS, _OPENS, _FOLLOWS, _ASKS = range(4)  # rank of a row among those of its listing


class Steps:
    """In what order requests are priced: a step counts from the price that was decided before.

    Only recorded decisions count. A listing's requests that say a `current_price` come first; then
    one of the others, which may use the whole step; then the rest. Those start from its price p, or
    from that of a request that says a `current_price` in between, and step by at most
    1 - 1 / √(1 + max_step) each where they are several: between p / √(1 + max_step) and
    p √(1 + max_step), no price is more than max_step off another. Of a listing that has no price to
    step from yet, all others start from the first request that says one. Requests that share the
    price of a family count as one.

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
        n = len(subjects)
        self.turn = np.zeros(n, np.int64)
        step = subjects.number["max_step"]
        limited = ~np.isnan(step) & (subjects.listing >= 0)
        rows = np.flatnonzero(limited)
        listing, again = np.unique(subjects.listing[rows], return_inverse=True)
        self._rows = self._first = self._rank = _NOBODY
        if len(listing) == len(rows):
            return
        number = np.full(n, -1)
        number[rows] = again
        said = limited & recorded & ~np.isnan(subjects.current_price)
        waits = limited & recorded & ~said
        says = np.bincount(number[said], minlength=len(listing)) > 0
        opens = np.zeros(n, np.bool_)
        opens[np.flatnonzero(waits)[np.unique(number[waits], return_index=True)[1]]] = True
        self.turn[waits] = says[number[waits]].astype(np.int64) + ~opens[waits]
        # whom no request of its own listing waits for may wait for its family
        free = recorded & ~waits & ~np.isin(number, number[waits])
        shares = _wait_for_families(self.turn, opens, number, waits, free, says, keys)
        rest = np.flatnonzero(waits & ~opens)
        once = rest[np.unique(number[rest] * n + shares[rest], return_index=True)[1]]
        several = np.bincount(number[once], minlength=len(listing)) > 1
        crowded = rest[several[number[rest]]]
        step[crowded] = 1.0 - 1.0 / np.sqrt(1.0 + step[crowded])
        rank = np.select([said, opens, recorded], [_SAYS, _OPENS, _FOLLOWS], _ASKS)
        # by listing, what-ifs last; the one that opens before those since a current_price was said
        mine = rows[np.lexsort((~recorded[rows], again))]
        begins = np.diff(number[mine], prepend=-1) > 0
        since = said[mine]
        # where nothing else limits a listing, those before the first that says one step from it too
        free = np.isnan(subjects.last_price) & np.isnan(subjects.number["reference_price"])
        telling = np.flatnonzero(since & free[mine])
        since[telling[np.unique(number[mine[telling]], return_index=True)[1]]] = False
        self._rows = mine[np.lexsort((rank[mine], np.cumsum(begins | since)))]
        self._first = np.searchsorted(number[self._rows], number[self._rows])
        self._rank = rank[self._rows]
        self._decided = np.full(n, np.nan)

    def note(self, rows: NDArray[np.int64], price: NDArray[np.int64]) -> None:
        """Note recorded decisions: what is priced in later turns, and what-ifs, start from them.

        Args:
            rows: of one turn, (m,). price: minor units, (m,).
        """
        if not self._rows.size:
            return
        subjects, mine = self._subjects, self._rows
        self._decided[rows] = price / subjects.per_major[rows]
        decided = ~np.isnan(self._decided[mine])
        later = self.turn[mine] > self.turn[rows].max(initial=-1)
        self._start(decided & (self._rank <= _OPENS), later & (self._rank != _ASKS))
        self._start(decided, self._rank == _ASKS)

    def opened_anew(self, refused: NDArray[np.int64]) -> NDArray[np.int64]:
        """Requests that open instead of refused ones which were to, before the others of their
        listings, which nothing would limit else, (m,).

        Args:
            refused: rows that got no price, recorded ones, (r,).
        """
        found = []
        for place in np.flatnonzero(np.isin(self._rows, refused) & (self._rank == _OPENS)):
            block = np.flatnonzero(self._first == self._first[place])
            mine = self._rows[block]
            waits = block[
                (self._rank[block] == _FOLLOWS)
                & np.isnan(self._subjects.last_price[mine])
                & (self.turn[mine] > self.turn[self._rows[place]])
            ]
            if not waits.size:
                continue
            next_ = waits[np.lexsort((self._rows[waits], self.turn[self._rows[waits]]))[0]]
            row = self._rows[next_]
            self.turn[row] = self.turn[self._rows[place]]
            self._rows[[place, next_]] = self._rows[[next_, place]]
            self._rank[next_] = _ASKS  # it got no price, and begins nothing
            found.append(row)
        return np.array(found, np.int64)

    def _start(self, of: NDArray[np.bool_], rows: NDArray[np.bool_]) -> None:
        """Let `rows` start from the price of the last before them among `of`, by `_rows`."""
        mine = self._rows
        before: NDArray[np.int64] = np.maximum.accumulate(np.where(of, np.arange(len(mine)), -1))
        before = np.concatenate([[-1], before[:-1]])
        found = rows & (before >= self._first)
        self._subjects.last_price[mine[found]] = self._decided[mine[before[found]]]


def _wait_for_families(
    turn: NDArray[np.int64],
    opens: NDArray[np.bool_],
    number: NDArray[np.int64],
    waits: NDArray[np.bool_],
    free: NDArray[np.bool_],
    says: NDArray[np.bool_],
    keys: dict[int, Key],
) -> NDArray[np.int64]:
    """Let members of a family share a turn, as they agree on one price; `turn` and `opens` change.

    Args:
        number: of each row's listing, (n,). says: listings that say a `current_price`, too.

    Returns:
        Of each row the first that shares its price, int64 (n,).
    """
    shares = np.arange(len(turn))
    asked: dict[Key, set[int]] = {}
    lead: dict[Key, int] = {}
    for row, key in keys.items():
        shares[row] = lead.setdefault(key, row)
        if waits[row]:
            asked.setdefault(key, set()).add(int(number[row]))
    when, first = _turns(asked, set(np.flatnonzero(says).tolist()))
    for row, key in keys.items():
        if waits[row]:
            turn[row], opens[row] = when[key], first[int(number[row])] == key
        elif free[row]:
            turn[row] = when.get(key, 0)
    return shares


def _turns(asked: dict[Key, set[int]], says: set[int]) -> tuple[dict[Key, int], dict[int, Key]]:
    """In which turn families decide, and which of its prices each listing begins with.

    No listing goes on in the turn in which it begins: nothing would limit the prices of one that
    has had none yet. It begins with that of its prices which is asked for first, by whomever, so
    that no two wait for each other; there are no more turns than listings, and one.

    Args:
        asked: listings asked about. says: those that cannot begin before the second turn.
    """
    when: dict[Key, int] = {}
    first: dict[int, Key] = {}
    for key, listings in asked.items():
        turn = 0
        for listing in listings:
            if first.setdefault(listing, key) == key:
                turn = max(turn, int(listing in says))
            else:
                turn = max(turn, when[first[listing]] + 1)
        when[key] = turn
    return when, first
