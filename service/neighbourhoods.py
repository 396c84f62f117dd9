"""Similar listings of each listing, as an embedding space has them, in the log and in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service import log
from service.catalogue import NEIGHBOURS

if TYPE_CHECKING:
    from service.pricebandit import Pricebandit

SEARCHED = 3 * NEIGHBOURS
"""Embeddings searched for each listing: some belong to other currencies or deleted listings."""

_PART = 4_096


def search(
    bandit: Pricebandit, vectors: NDArray[np.float32], own: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Nearest embeddings among those of active listings and `own`: cosines and ids, (n, 30).

    The cache may hold far more: texts of before a change, of deleted listings, of other homes.
    """
    among = np.concatenate([bandit.catalogue.embeddings(), own])
    return bandit.listing_texts.neighbours(vectors, SEARCHED, among)


def store(
    conn: sa.Connection,
    space: str,
    rows: NDArray[np.int64],
    neighbours: NDArray[np.int64],
    cosines: NDArray[np.float64],
    changed: NDArray[np.bool_],
) -> None:
    """Write neighbours of n listings; what any space knew of those `changed`, bool (n,), goes."""
    table = log.neighbourhoods
    gone = rows[changed].tolist()
    for start in range(0, len(gone), _PART):
        conn.execute(table.delete().where(table.c.listing.in_(gone[start : start + _PART])))
    packed = np.stack([neighbours, cosines.view(np.int64)], axis=1)  # (n, 2, 10)
    log.insert(
        conn,
        table,
        [
            {"space": space, "listing": row, "nearest": blob.tobytes()}
            for row, blob in zip(rows.tolist(), packed, strict=True)
        ],
    )


def load(
    bandit: Pricebandit, rows: NDArray[np.int64], progress: Callable[[int, int], None] | None
) -> None:
    """Put neighbours of rows into memory, and find those that the log lacks in this space."""
    catalogue = bandit.catalogue
    if not len(rows):
        return
    table, known = log.neighbourhoods.c, np.zeros(len(catalogue), np.bool_)
    query = (
        sa.select(table.listing, table.nearest)
        .where(table.space == bandit.space, table.listing.between(int(rows[0]), int(rows[-1])))
        .order_by(table.listing)
    )
    for part in bandit.log.stream(query):
        found = np.array([row.listing for row in part], np.int64)
        packed = np.frombuffer(b"".join(row.nearest for row in part), np.int64)
        packed = packed.reshape(len(part), 2, NEIGHBOURS)
        catalogue.neighbours[found] = packed[:, 0]
        catalogue.similarity[found] = packed[:, 1].view(np.float64)
        known[found] = True
    find(bandit, rows[~known[rows]], progress)


def find(
    bandit: Pricebandit,
    rows: NDArray[np.int64],
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Find the neighbours of active rows in this space, and keep them in the log and in memory."""
    catalogue = bandit.catalogue
    rows = rows[catalogue.active[rows] & (catalogue.text[rows] >= 0)]
    for start in range(0, len(rows), _PART):
        part = rows[start : start + _PART]
        vectors, _ = bandit.vectors(part)
        similarity, similar = search(bandit, vectors, np.empty(0, np.int64))
        currency = catalogue.currency[part].tolist()
        neighbours, cosines = catalogue.nearest(part, currency, similarity, similar)
        with bandit.log.transaction() as conn:
            fresh = np.zeros(len(part), np.bool_)
            store(conn, bandit.space, part, neighbours, cosines, fresh)
        catalogue.neighbours[part], catalogue.similarity[part] = neighbours, cosines
        if progress:
            progress(start + len(part), len(rows))
