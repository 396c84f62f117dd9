"""Recorded sales come in: history that warms the model and is never taken for decisions."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service import log
from service.anchors import set_anchors, set_first
from service.pricebandit import Pending, Pricebandit
from service.tables import SalesTable


def import_sales(bandit: Pricebandit, conn: sa.Connection, tables: Sequence[SalesTable]) -> Pending:
    """Log recorded sales of registered listings; a file imported twice counts once.

    A listing that was deleted and registered anew is another one, with sales of its own.
    """
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
    keys = [_hash(f"{content} of {row}") for content, row in zip(said, rows.tolist(), strict=True)]
    new = _new(conn, keys, said, rows)
    rows, minor, at_us, units = rows[new], minor[new], at_us[new], units[new]
    impressions = impressions[new]
    money = minor / bandit.catalogue.per_major[rows]
    missing = np.isnan(bandit.anchors(rows)) & (impressions > 0)
    anchor = set_anchors(bandit, conn, rows[missing], np.log(money[missing]), at_us[missing])
    shown = impressions > 0
    offered = set_first(bandit, conn, rows[shown], at_us[shown])
    last = 0
    if len(rows):
        kept = [key for key, is_new in zip(keys, new, strict=True) if is_new]
        log.insert(conn, log.sales,
            [
                {
                    "sale_id": key,
                    "listing": row,
                    "at": at,
                    "price": p,
                    "units": u,
                    "impressions": int(i) if i == i else None,
                }
                for key, row, at, p, u, i in zip(
                    kept, rows.tolist(), at_us.tolist(), minor.tolist(), units.tolist(),
                    impressions.tolist(), strict=True,
                )
            ],
        )  # fmt: skip
        last = conn.scalar(sa.select(sa.func.max(log.sales.c.seq))) or 0

    def apply() -> None:
        anchor()
        offered()
        if len(rows):
            bandit.fold.add_sales(
                bandit.catalogue, rows, money, units.astype(np.float64), impressions, at_us, last
            )
            bandit.learned(rows)

    answer = {"accepted": len(rows), "duplicates": len(keys) - len(rows)}
    return Pending([answer], apply)


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


def _new(
    conn: sa.Connection, keys: Sequence[str], contents: Sequence[str], rows: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which sales are neither in the log nor before in this import, bool (m,).

    Before the listing's row was part of the id, it was the content alone.
    """
    s = log.sales.c
    query = sa.select(s.sale_id, s.listing)
    seen = {tuple(row) for row in log.select_in(conn, query, s.sale_id, [*keys, *contents])}
    new = []
    for key, content, row in zip(keys, contents, rows.tolist(), strict=True):
        new.append(not seen & {(key, row), (content, row)})
        seen.add((key, row))
    return np.array(new, np.bool_)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
