"""The catalogue in memory: one array per field, one entry per listing."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bandits import amounts, minor_per_major, whole_numbers, word_ids
from bandits.amounts import KINDS
from bandits.words import WORDS
from service.family_prices import FamilyPrices
from service.fields import WEIGHTS, end_of, weights_of
from service.items import log_of, numbers

NEIGHBOURS = 10
"""Similar listings kept for each listing."""

TWINS = 3
"""Listings with one text that are kept as similar to another: more would hide other texts."""

NUMBERS = (
    "unit_cost",
    "reference_price",
    "min_price",
    "max_price",
    "minimum_advertised_price",
    "price_ending",
    "max_step",
)
"""Numeric fields of a listing that pricing reads."""

_SAME = 1e-4  # cosines no further apart are those of the same texts

Cosines = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[np.float32]]
"""Cosines of m pairs of embeddings, by their ids, (m,) each; NaN where they cannot be told."""


class Catalogue:
    """Columns over listings. A row number, once given, means the same listing for ever.

    Attributes (a, rows in use):
        number: the numeric fields of the listings, name → float64 (a,), NaN where unknown.
        per_major: minor units per currency unit, int64 (a,).
        currency: codes, object (a,). active: False once deleted, bool (a,).
        single: True where one impression sells one unit at most, bool (a,).
        inventory: units left to sell, float64 (a,), NaN without an end. sell_by: microseconds
            since 1970 UTC until which they sell, float64 (a,), NaN where not said.
        objective: weights of profit, revenue and units, float64 (a, 3), NaN where not said.
        text: id of the listing's embedding, int64 (a,), -1 where it has none.
        trained_on: whether the encoder was fitted to its text, bool (a,).
        words: hashes of its words, int32 (a, 32), see `bandits.word_ids`.
        amount: log amounts that its text states, float32 (a, 2), see `bandits.amounts`.
        neighbours: rows of similar listings, nearest first, int64 (a, 10), -1 where fewer.
        similarity: their cosines, float64 (a, 10), NaN where fewer.
        anchor: log price that the listing's demand curves are relative to, NaN until needed.
        first_at: when it was first priced, or sold as recorded, as `sell_by`, NaN before.
        last_price: price decided last, currency units, NaN before the first.
        family, category: their codes, int64 (a,), -1 without one.
        sold: Σ units · log price and Σ units of recorded sales, float64 (a, 2).
        learned_price: log price that own evidence points to, (a,), NaN until it tells more than
            the guess.
        family_prices: what families are held to, by their codes.
        decided_until: id of the newest decision whose price is noted here. changed_until: when the
            newest change of a listing was that is noted here, microseconds since 1970 UTC.
        cosines: measures embeddings; whoever has them says how.
    """

    def __init__(self) -> None:
        self.row_of: dict[str, int] = {}  # active listings only
        self.listing_id: list[str] = []
        self.document: list[dict[str, Any]] = []
        self.family_code: dict[str, int] = {}
        self.category_code: dict[str, int] = {}
        self._room = 0
        self.number: dict[str, NDArray[np.float64]] = {name: np.empty(0) for name in NUMBERS}
        self.per_major = np.empty(0, np.int64)
        self.currency = np.empty(0, object)
        self.active = np.empty(0, np.bool_)
        self.single = np.empty(0, np.bool_)
        self.inventory = np.empty(0)
        self.sell_by = np.empty(0)
        self.objective = np.empty((0, len(WEIGHTS)))
        self.text = np.empty(0, np.int64)
        self.trained_on = np.empty(0, np.bool_)
        self.words = np.empty((0, WORDS), np.int32)
        self.amount = np.empty((0, len(KINDS)), np.float32)
        self.neighbours = np.empty((0, NEIGHBOURS), np.int64)
        self.similarity = np.empty((0, NEIGHBOURS))
        self.anchor = np.empty(0)
        self.first_at = np.empty(0)
        self.last_price = np.empty(0)
        self.family = np.empty(0, np.int64)
        self.category = np.empty(0, np.int64)
        self.sold = np.empty((0, 2))
        self.learned_price = np.empty(0)
        self.family_prices = FamilyPrices()
        self.decided_until = ""
        self.changed_until = 0
        self.cosines: Cosines = lambda one, other: np.full(len(one), np.nan)

    def __len__(self) -> int:
        return len(self.listing_id)

    def _grow(self, needed: int) -> None:
        if needed <= self._room:
            return
        self._room = max(needed, 2 * self._room, 1024)

        def wider(old: NDArray[Any], fill: object) -> NDArray[Any]:
            new = np.full((self._room, *old.shape[1:]), fill, old.dtype)
            new[: len(old)] = old
            return new

        nan = np.nan
        self.number = {name: wider(column, nan) for name, column in self.number.items()}
        for name, fill in (
            ("per_major", 1), ("currency", ""), ("active", False), ("single", False),
            ("inventory", nan), ("sell_by", nan), ("objective", nan), ("text", -1), ("words", -1),
            ("amount", nan), ("trained_on", False),
            ("neighbours", -1), ("similarity", nan), ("anchor", nan), ("first_at", nan),
            ("last_price", nan), ("family", -1), ("category", -1), ("sold", 0.0),
            ("learned_price", nan),
        ):  # fmt: skip
            setattr(self, name, wider(getattr(self, name), fill))

    def rows(self, listing_ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows of listing ids, int64 (n,), -1 for those unknown or deleted."""
        get = self.row_of.get
        return np.fromiter((get(i, -1) for i in listing_ids), np.int64, len(listing_ids))

    def assign(self, listing_ids: Sequence[str]) -> NDArray[np.int64]:
        """Rows for upserting distinct listing ids: their own, or new ones not yet in use."""
        rows = self.rows(listing_ids)
        new = rows < 0
        rows[new] = len(self) + np.arange(new.sum())
        return rows

    def currencies(self) -> dict[str, str]:
        """Id of each active listing → its currency."""
        return {name: str(self.currency[row]) for name, row in self.row_of.items()}

    def minor_units(self) -> dict[str, int]:
        """Minor units in one unit of its currency, by the id of every active listing."""
        rows = list(self.row_of.values())
        return dict(zip(self.row_of, self.per_major[rows].tolist(), strict=True))

    def put(
        self,
        rows: NDArray[np.int64],
        documents: Sequence[dict[str, Any]],
        text: NDArray[np.int64],
        trained_on: NDArray[np.bool_],
    ) -> None:
        """Write listings to rows that `assign` gave, with the ids of their embeddings and whether
        the encoder was fitted to their texts, (n,) each.
        """
        if len(rows) == 0:
            return
        self._grow(int(rows.max()) + 1)
        before, known = self.text[rows], self.active[rows]
        for row, document in zip(rows.tolist(), documents, strict=True):
            if row == len(self.listing_id):
                self.listing_id.append(document["listing_id"])
                self.document.append(document)
            else:
                self.document[row] = document
            # a row of a deleted listing may be read again after that of its successor
            name = document["listing_id"]
            self.row_of[name] = max(row, self.row_of.get(name, row))
        for name, column in self.number.items():
            column[rows] = numbers(documents, name)
        codes = [document["currency"] for document in documents]
        self.currency[rows] = codes
        self.per_major[rows] = minor_per_major(codes)
        self.active[rows] = True
        self.single[rows] = [d.get("one_unit_per_impression", False) for d in documents]
        self.inventory[rows] = numbers(documents, "inventory")
        self.sell_by[rows] = [end_of(document.get("sell_by")) for document in documents]
        self.objective[rows] = [weights_of(document.get("objective")) for document in documents]
        self.family[rows] = _coded(documents, "family", self.family_code)
        self.category[rows] = _coded(documents, "category", self.category_code)
        self.text[rows] = text
        self.trained_on[rows] = trained_on
        self.words[rows] = word_ids([_words_of(document) for document in documents])
        self.amount[rows] = amounts([_sizes_of(document) for document in documents])
        moved = rows[known & (text != before)]
        if len(moved):
            self.measure(self._listing_any(moved))

    def embeddings(self) -> NDArray[np.int64]:
        """Embedding ids of the active listings, repeats included; for any thread."""
        text = self.text[: len(self)]
        return np.asarray(text[self.active[: len(text)] & (text >= 0)])

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Take listings out of service, (n,); their rows are never given again."""
        self.active[rows] = False
        for row in rows.tolist():
            # loading the log, the id may have been given to a newer row already
            if self.row_of.get(self.listing_id[row]) == row:
                del self.row_of[self.listing_id[row]]
        if len(rows):
            self.measure(self._listing_any(rows))

    def measure(self, rows: NDArray[np.int64]) -> None:
        """Let the neighbours of listings, (n,), be those still active, with the cosines that the
        present texts have, nearest first.
        """
        listed, similarity = self.neighbours[rows], self.similarity[rows]
        texts = np.stack(np.broadcast_arrays(self.text[rows][:, None], self.text[listed]))
        there = (listed >= 0) & self.active[listed] & (texts >= 0).all(0)
        present = np.full(listed.shape, np.nan)
        present[there] = self.cosines(*texts[:, there])
        # what rounding moves is left alone: a restart is to find what was there before
        kept = np.abs(present - similarity) < _SAME
        similarity = np.where(kept, similarity, present)
        order = np.argsort(-similarity, axis=1, kind="stable")
        listed = np.where(np.isnan(similarity), -1, listed)
        self.neighbours[rows] = np.take_along_axis(listed, order, 1)
        self.similarity[rows] = np.take_along_axis(similarity, order, 1)

    def _listing_any(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows that have any of `rows` among their neighbours, (n,)."""
        among = np.zeros(len(self) + 1, np.bool_)  # the last is that of no neighbour, -1
        among[rows] = True
        return np.flatnonzero(among[self.neighbours[: len(self)]].any(1))

    def categories(self, names: Sequence[str | None]) -> NDArray[np.int64]:
        """Codes of categories by name, -1 for None, int64 (n,); those unknown get one."""
        code = self.category_code
        return np.array(
            [-1 if name is None else code.setdefault(name, len(code)) for name in names], np.int64
        )

    def nearest(
        self,
        own: NDArray[np.int64],
        currency: Sequence[str],
        similarity: NDArray[np.float32],
        text: NDArray[np.int64],
        own_text: NDArray[np.int64] | None = None,
        k: int = NEIGHBOURS,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Neighbours by embedding as neighbours by listing: rows (n, k) and cosines (n, k).

        Kept are active listings in the same currency, other than the listing itself. Of those with
        one text three at most: those with a price come first, then those registered first.

        Args:
            own: the listings' rows, int64 (n,), -1 for what-ifs. currency: their codes.
            similarity, text: cosines and embedding ids found, best first, (n, c), -1 where none.
            own_text: embeddings of listings about to be `put`, which may be each other's
                neighbours, (n,). k: neighbours wanted.
        """
        codes = np.asarray(currency, object)
        there = self.text[: len(self)]
        rows = np.flatnonzero(self.active[: len(there)] & (there >= 0) & np.isin(there, text))
        row_text, row_currency = self.text[rows], self.currency[rows]
        if own_text is not None:
            # of those about to be put, what they will be counts, not what they are
            left, read = ~np.isin(rows, own), own_text >= 0
            rows = np.concatenate([rows[left], own[read]])
            row_text = np.concatenate([row_text[left], own_text[read]])
            row_currency = np.concatenate([row_currency[left], codes[read]])
        priceless = np.isnan(self.charged(np.where(rows < len(self), rows, -1)))
        order = np.lexsort((rows, priceless, row_text))
        rows, row_text, row_currency = rows[order], row_text[order], row_currency[order]
        out_rows = np.full((len(own), k), -1, np.int64)
        out_similarity = np.full((len(own), k), np.nan)
        for code in set(currency):
            mine, theirs = np.flatnonzero(codes == code), row_currency == code
            asker, place, found, cosine = _first_with(
                rows[theirs], row_text[theirs], own[mine], similarity[mine], text[mine], k
            )
            out_rows[mine[asker], place] = found
            out_similarity[mine[asker], place] = cosine
        return out_rows, out_similarity

    def charged(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What listings were sold for before, log currency units, shape of `rows`; NaN if unknown.

        The reference price, else the mean of recorded sales by units.
        """
        if len(self) == 0:
            return np.full(rows.shape, np.nan)
        sold = self.sold[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            price = np.log(self.number["reference_price"][rows])
            recorded = sold[..., 0] / sold[..., 1]
        return np.where(rows >= 0, np.where(np.isnan(price), recorded, price), np.nan)

    def worth(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """What listings are worth to others: as `charged`, else what own evidence points to."""
        if len(self) == 0:
            return np.full(rows.shape, np.nan)
        price = self.charged(rows)
        return np.where(np.isnan(price) & (rows >= 0), self.learned_price[rows], price)

    def in_pence(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Whether what listings were sold for may be told in minor units, (n,), NaN where unknown:
        1 where it is a whole number, of a currency that has parts, and else 0.
        """
        return whole_numbers(np.exp(self.charged(rows))) * (self.per_major[rows] > 1)

    def in_minor_units(
        self, rows: NDArray[np.int64], price: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Prices of listings, currency units, to the minor unit; both of one shape."""
        if len(self) == 0:
            return price
        return np.asarray(np.round(price * self.per_major[rows]) / self.per_major[rows])

    def log_cost(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log unit cost, currency units, same shape as `rows`; NaN where unknown or nothing."""
        if len(self) == 0:
            return np.full(rows.shape, np.nan)
        return np.where(rows >= 0, log_of(self.number["unit_cost"][rows]), np.nan)

    def amounts_of(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log amounts that texts state, (*rows.shape, 2); NaN where none."""
        if len(self) == 0:
            return np.full((*rows.shape, len(KINDS)), np.nan)
        return np.where(rows[..., None] >= 0, self.amount[rows], np.nan).astype(np.float64)

    def record_sales(
        self, rows: NDArray[np.int64], log_price: NDArray[np.float64], units: NDArray[np.float64]
    ) -> None:
        """Add recorded sales, (m,) each; rows repeat."""
        np.add.at(self.sold, rows, np.stack([units * log_price, units], axis=1))

    def note_prices(
        self,
        rows: NDArray[np.int64],
        price: NDArray[np.int64],
        family: Sequence[str | None],
        unit: Sequence[str | None],
        at_us: NDArray[np.int64],
        last: str,
    ) -> None:
        """Note prices decided, oldest first; `last` is the id of the newest.

        Args:
            rows: (m,). price: minor units. family, unit: as decided. at_us: microseconds UTC.
        """
        self.last_price[rows] = price / self.per_major[rows]
        self.decided_until = max(self.decided_until, last)
        for i, name in enumerate(family):
            if name is not None:
                held = int(price[i]), self.currency[rows[i]]
                # a restart reads families, too, that all members have left
                code = self.family_code.setdefault(name, len(self.family_code))
                self.family_prices.note(code, unit[i], int(at_us[i]), held)

    def members(self, families: ArrayLike, currency: str) -> NDArray[np.int64]:
        """Rows of the active listings of families, given by their codes, in a currency, (m,)."""
        mine = np.flatnonzero(np.isin(self.family[: len(self)], families))
        return np.asarray(mine[self.active[mine] & (self.currency[mine] == currency)], np.int64)


def _first_with(
    rows: NDArray[np.int64],
    row_text: NDArray[np.int64],
    own: NDArray[np.int64],
    similarity: NDArray[np.float32],
    text: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """The first k listings with the texts that each of q askers found, `TWINS` at most with each
    text, itself left out.

    Args:
        rows, row_text: listings and their embeddings, which ascend, (m,).
        own, similarity, text: see `Catalogue.nearest`, (q,) and (q, c).

    Returns:
        Number of the asker, place among what it found, row and cosine, one entry for each find.
    """
    first = np.searchsorted(row_text, text)  # (q, c)
    last = np.searchsorted(row_text, text, side="right")
    count = (last - first).clip(max=TWINS + 1).ravel()  # one may be the asker
    which = np.repeat(np.arange(len(count)), count)  # of the q · c texts found
    found = rows[first.ravel()[which] + _place(which)]
    other = found != own[which // text.shape[1]]
    which, found = which[other], found[other]
    few = _place(which) < TWINS
    which, found = which[few], found[few]
    asker = which // text.shape[1]
    place = _place(asker)
    kept = place < k
    return asker[kept], place[kept], found[kept], similarity.ravel()[which[kept]]


def _place(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of entries among those of their group, from 0; groups ascend, (m,)."""
    return np.arange(len(group)) - np.searchsorted(group, group)


def rfc3339(at_us: int) -> str:
    """A time in microseconds since 1970 as text, e.g. 2026-01-31T12:00:00Z."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat().replace("+00:00", "Z")


def _words_of(document: dict[str, Any]) -> str:
    """The words that tell one listing from another."""
    names = ("title", "brand", "category", "description")
    return " ".join(str(document[name]) for name in names if document.get(name))


def _sizes_of(document: dict[str, Any]) -> str:
    """Where amounts are looked for: attributes first, for they are told on purpose."""
    stated = sorted((document.get("attributes") or {}).items())
    return " | ".join([*(str(value) for _, value in stated), _words_of(document)])


def _coded(documents: Sequence[dict[str, Any]], name: str, codes: dict[str, int]) -> list[int]:
    """Codes of a text field, new ones given where needed; -1 where it is missing."""
    return [codes.setdefault(d[name], len(codes)) if d.get(name) else -1 for d in documents]
