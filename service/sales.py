"""Recorded sales come in: history that warms the model and is never taken for decisions."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service import log
from service.pricebandit import Pending, Pricebandit
from service.tables import SalesTable


def import_sales(bandit: Pricebandit, conn: sa.Connection, tables: Sequence[SalesTable]) -> Pending:
    """Log recorded sales of registered listings; a file imported twice counts once."""
    listing_ids = [name for table in tables for name in table.listing_id]
    at_us, price, units, impressions = (
        np.concatenate([getattr(table, name) for table in tables])
        for name in ("at_us", "price", "units", "impressions")
    )
    rows = bandit.catalogue.rows(listing_ids)
    minor = np.rint(price * bandit.catalogue.per_major[rows]).astype(np.int64)
    keys = _sale_ids(listing_ids, at_us, minor, units, impressions)
    s = log.sales.c
    seen = {row.sale_id for row in log.select_in(conn, sa.select(s.sale_id), s.sale_id, keys)}
    new = np.array([key not in seen for key in keys], np.bool_)
    rows, minor, at_us, units = rows[new], minor[new], at_us[new], units[new]
    impressions = impressions[new]
    money = minor / bandit.catalogue.per_major[rows]
    missing = np.isnan(bandit.catalogue.anchor[rows]) & (impressions > 0)
    anchor = bandit.set_anchors(conn, rows[missing], np.log(money[missing]), at_us[missing])
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
        last = conn.scalar(sa.select(sa.func.max(s.seq))) or 0

    def apply() -> None:
        anchor()
        if len(rows):
            bandit.fold.add_sales(
                bandit.catalogue, rows, money, units.astype(np.float64), impressions, at_us, last
            )
            bandit.learned(rows)

    answer = {"accepted": len(rows), "duplicates": len(keys) - len(rows)}
    return Pending([answer], apply)


def _sale_ids(listing_ids: Sequence[str], *columns: NDArray[Any]) -> list[str]:
    """An id for each sale from what it says; equal sales of one import are told apart by count."""
    seen: dict[str, int] = {}
    keys = []
    for row in zip(listing_ids, *(column.tolist() for column in columns), strict=True):
        key = hashlib.sha256(repr(row).encode()).hexdigest()
        count = seen[key] = seen.get(key, 0) + 1
        keys.append(key if count == 1 else hashlib.sha256(f"{key} {count}".encode()).hexdigest())
    return keys
