"""Recorded sales come in, and go: history that warms the model, never taken for decisions."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service import log
from service.anchors import reset_anchors, set_anchors, set_first
from service.pricebandit import Pending, Pricebandit
from service.tables import SalesTable


def import_sales(bandit: Pricebandit, conn: sa.Connection, tables: Sequence[SalesTable]) -> Pending:
    """Log recorded sales of registered listings; a file imported twice counts once.

    A listing that was deleted and registered anew is another one, with sales of its own.
    """
    given = _given(bandit, conn, tables)
    new = _first_of_each(given.ids) & ~given.counts
    sold = given.of(new)
    rows, at_us = sold.rows, sold.at_us
    money = sold.minor / bandit.catalogue.per_major[rows]
    missing = np.isnan(bandit.anchors(rows)) & (sold.impressions > 0)
    anchor = set_anchors(bandit, conn, rows[missing], np.log(money[missing]), at_us[missing])
    shown = sold.impressions > 0
    offered = set_first(bandit, conn, rows[shown], at_us[shown])
    last = _logged(conn, sold)

    def apply() -> None:
        anchor()
        offered()
        if len(rows):
            bandit.fold.add_sales(
                bandit.catalogue, rows, money, sold.units.astype(np.float64), sold.impressions,
                at_us, last,
            )  # fmt: skip
            bandit.learned(rows)

    answer = {"accepted": len(rows), "duplicates": len(new) - len(rows)}
    return Pending([answer], apply)


def take_back(bandit: Pricebandit, conn: sa.Connection, tables: Sequence[SalesTable]) -> Pending:
    """Log that imported sales count no longer, nor for what was set with them.

    Memory is left with them: whoever opens the log anew reads it as if they had never come. Sales
    that are not there, or were taken back already, change nothing; imported again, they count.
    """
    given = _given(bandit, conn, tables)
    there = _first_of_each(given.ids) & given.counts
    sold = given.of(there)
    _logged(conn, sold, sold.seq)
    reset_anchors(bandit, conn, np.unique(sold.rows[sold.impressions > 0]))
    answer = {"taken_back": len(sold.rows), "not_there": len(there) - len(sold.rows)}
    return Pending([answer], bandit.spoil if len(sold.rows) else lambda: None)


@dataclass(frozen=True, slots=True)
class _Given:
    """Sales as given, (m,) each, and what the log has of them.

    Attributes:
        rows: of the catalogue. minor: prices in minor units. impressions: NaN where unknown.
        ids: under which each is to be logged, text: the first time, after it was taken back, …
        counts: whether it is in the log, and not taken back. seq: its number there, if it counts.
    """

    rows: NDArray[np.int64]
    at_us: NDArray[np.int64]
    minor: NDArray[np.int64]
    units: NDArray[np.int64]
    impressions: NDArray[np.float64]
    ids: NDArray[np.object_]
    counts: NDArray[np.bool_]
    seq: NDArray[np.int64]

    def of(self, kept: NDArray[np.bool_]) -> "_Given":
        return _Given(*(getattr(self, field.name)[kept] for field in fields(self)))


def _given(bandit: Pricebandit, conn: sa.Connection, tables: Sequence[SalesTable]) -> _Given:
    listing_ids = [name for table in tables for name in table.listing_id]
    at_us, price, units, impressions = (
        np.concatenate([getattr(table, name) for table in tables])
        for name in ("at_us", "price", "units", "impressions")
    )
    rows = bandit.catalogue.rows(listing_ids)
    minor = np.rint(price * bandit.catalogue.per_major[rows]).astype(np.int64)
    repeat = np.concatenate(
        [np.zeros(len(t.listing_id), np.int64) if t.repeat is None else t.repeat for t in tables]
    )
    said = _contents(listing_ids, (at_us, minor, units, impressions), repeat)
    return _Given(rows, at_us, minor, units, impressions, *_in_log(conn, said, rows))


def _logged(conn: sa.Connection, sold: _Given, takes_back: NDArray[np.int64] | None = None) -> int:
    """Write sales, or that they are taken back; the number of the last sale in the log."""
    log.insert(conn, log.sales,
        [
            {
                "sale_id": key,
                "listing": row,
                "at": at,
                "price": p,
                "units": u,
                "impressions": int(i) if i == i else None,
                "takes_back": back,
            }
            for key, row, at, p, u, i, back in zip(
                sold.ids.tolist(), sold.rows.tolist(), sold.at_us.tolist(), sold.minor.tolist(),
                sold.units.tolist(), sold.impressions.tolist(),
                [None] * len(sold.rows) if takes_back is None else takes_back.tolist(), strict=True,
            )
        ],
    )  # fmt: skip
    return conn.scalar(sa.select(sa.func.max(log.sales.c.seq))) or 0


def _contents(
    listing_ids: Sequence[str], columns: Sequence[NDArray[Any]], repeat: NDArray[np.int64]
) -> list[str]:
    """A hash of what each sale says, equal sales of one file told apart by count."""
    said = zip(listing_ids, *(column.tolist() for column in columns), strict=True)
    hashes = [_hash(repr(row)) for row in said]
    return [
        _hash(f"{content} {count + 1}") if count else content
        for content, count in zip(hashes, repeat.tolist(), strict=True)
    ]


def _in_log(
    conn: sa.Connection, contents: Sequence[str], rows: NDArray[np.int64]
) -> tuple[NDArray[np.object_], NDArray[np.bool_], NDArray[np.int64]]:
    """Ids under which sales are to be logged next, whether they count, and their numbers, all (m,).

    A sale has a chain of ids, each the hash of the one before: told, taken back, told again, … The
    first is a hash of its content and its listing's row; before the row was part of it, it was the
    content alone.
    """
    s = log.sales.c
    query = sa.select(s.sale_id, s.listing, s.seq)
    where = rows.tolist()
    ids = [_hash(f"{content} of {row}") for content, row in zip(contents, where, strict=True)]
    counts, seq = np.zeros(len(ids), np.bool_), np.zeros(len(ids), np.int64)
    found = log.select_in(conn, query, s.sale_id, [*ids, *contents])
    known = {(sale.sale_id, sale.listing): sale.seq for sale in found}
    chained = []
    for i, (content, row) in enumerate(zip(contents, where, strict=True)):
        for name in (ids[i], content):
            if (name, row) in known:
                ids[i], seq[i] = name, known[name, row]
                chained.append(i)
                break
    while chained:
        for i in chained:
            ids[i], counts[i] = _hash(f"after {ids[i]}"), not counts[i]
        found = log.select_in(conn, query, s.sale_id, [ids[i] for i in chained])
        later = {sale.sale_id: sale.seq for sale in found}
        chained = [i for i in chained if ids[i] in later]
        for i in chained:
            seq[i] = later[ids[i]]
    return np.array(ids, object), counts, seq


def _first_of_each(ids: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Whether no id before is the same, bool (m,)."""
    first = np.zeros(len(ids), np.bool_)
    first[np.unique(ids, return_index=True)[1]] = True
    return first


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
