"""The catalogue in memory: one array per field, one entry per listing."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bandits import amounts, minor_per_major, word_ids
from bandits.amounts import KINDS
from bandits.words import WORDS
from service.family_prices import FamilyPrices
from service.fields import WEIGHTS, end_of, weights_of
from service.items import numbers

NEIGHBOURS = 10
"""Similar listings kept for each listing."""

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
        learned_price: log price that own evidence points to, (a,), NaN until it does.
        family_prices: what families are held to, by their codes.
        decided_until: id of the newest decision whose price is noted here.
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
        self._row_of_text: dict[str, NDArray[np.int64]] = {}  # by currency

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
        before = self.text[rows]
        for row, document in zip(rows.tolist(), documents, strict=True):
            if row == len(self.listing_id):
                self.listing_id.append(document["listing_id"])
                self.document.append(document)
            else:
                self.document[row] = document
            self.row_of[document["listing_id"]] = row
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
        self._claim(text, rows, codes)
        self._hand_over(rows, before)

    def _claim(
        self, text: NDArray[np.int64], rows: NDArray[np.int64], currency: Sequence[str]
    ) -> None:
        """Say which rows embeddings stand for, (n,) each; of one text and currency, the last."""
        codes = np.asarray(currency, object)
        for code in set(currency):
            mine = (codes == code) & (text >= 0)
            table = self._row_of_text.get(code, np.empty(0, np.int64))
            highest = int(text[mine].max(initial=-1)) + 1
            if highest > len(table):
                grown = np.full(max(highest, 2 * len(table), 1024), -1, np.int64)
                grown[: len(table)] = table
                self._row_of_text[code] = table = grown
            table[text[mine]] = rows[mine]

    def _hand_over(self, rows: NDArray[np.int64], before: NDArray[np.int64]) -> None:
        """Let other active listings with the embeddings that rows had before stand for those, (n,)
        each, where the rows have another by now or are deleted.
        """
        left = (before >= 0) & ~(self.active[rows] & (self.text[rows] == before))
        rows, before = rows[left], before[left]
        codes = self.currency[rows]
        for code in set(codes):
            table, mine = self._row_of_text[code], codes == code
            lost = np.zeros(len(table), np.bool_)
            lost[before[mine]] = table[before[mine]] == rows[mine]
            text = self.text[: len(self)]
            heirs = np.flatnonzero(self.active[: len(text)] & (text >= 0) & (text < len(table)))
            heirs = heirs[lost[text[heirs]]]
            heirs = heirs[self.currency[heirs] == code]
            table[text[heirs]] = heirs

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
        self._hand_over(rows, self.text[rows])

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

        Kept are active listings in the same currency, other than the listing itself.

        Args:
            own: the listings' rows, int64 (n,), -1 for what-ifs. currency: their codes.
            similarity, text: cosines and embedding ids found, best first, (n, c), -1 where none.
            own_text: embeddings of listings about to be `put`, which may be each other's
                neighbours, (n,). k: neighbours wanted.
        """
        n = len(own)
        codes = np.asarray(currency, object)
        rows = np.full(text.shape, -1, np.int64)  # (n, c)
        peer = np.zeros(text.shape, np.bool_)
        for code in set(currency):
            table, mine = self._row_of_text.get(code, np.full(1, -1)), codes == code
            inside = (text[mine] >= 0) & (text[mine] < len(table))
            rows[mine] = np.where(inside, table[np.where(inside, text[mine], 0)], -1)
            if own_text is not None:
                found = _last_of(text[mine], own_text[mine], own[mine])
                peer[mine] = found >= 0
                rows[mine] = np.where(found >= 0, found, rows[mine])
        good = (rows >= 0) & (rows != own[:, None])
        old = good & (rows < len(self))
        at = np.where(old, rows, 0)
        alike = np.zeros(rows.shape, np.bool_)
        if len(self):
            # a claim may be out of date: the listing has another text by now, and no other had it
            alike = old & self.active[at] & (self.text[at] == text)
            alike &= self.currency[at] == codes[:, None]
        if own_text is not None:
            # of those about to be put, what they will be counts, not what they are
            alike = np.where(np.isin(rows, own), peer & good, alike)
        order = np.argsort(~alike, axis=1, kind="stable")[:, :k]
        kept = np.take_along_axis(alike, order, 1)
        out_rows = np.full((n, k), -1, np.int64)
        out_similarity = np.full((n, k), np.nan)
        width = order.shape[1]
        out_rows[:, :width] = np.where(kept, np.take_along_axis(rows, order, 1), -1)
        out_similarity[:, :width] = np.where(kept, np.take_along_axis(similarity, order, 1), np.nan)
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

    def log_cost(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Log unit cost, currency units, same shape as `rows`; NaN where unknown or nothing."""
        if len(self) == 0:
            return np.full(rows.shape, np.nan)
        cost = self.number["unit_cost"][rows]
        return np.log(np.where((rows >= 0) & (cost > 0), cost, np.nan))

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
            if name is not None and name in self.family_code:
                held = int(price[i]), self.currency[rows[i]]
                self.family_prices.note(self.family_code[name], unit[i], int(at_us[i]), held)


def _last_of(
    text: NDArray[np.int64], own_text: NDArray[np.int64], own: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Of the listings `own` with embeddings `own_text`, (n,) each, the last that has each of `text`
    (q, c): rows, (q, c), -1 where none has it.
    """
    order = np.argsort(own_text, kind="stable")
    at = np.searchsorted(own_text[order], text, side="right") - 1
    last = order[at.clip(0)]
    return np.where((text >= 0) & (at >= 0) & (own_text[last] == text), own[last], -1)


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
