"""Similar listings of each listing, as an embedding space has them, in the log and in memory."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from encoders import EmbeddingCache
from service import log
from service.catalogue import NEIGHBOURS

if TYPE_CHECKING:
    from service.pricebandit import Pricebandit

SEARCHED = 3 * NEIGHBOURS
"""Embeddings searched for each listing: some belong to other currencies or deleted listings."""

_PART = 4_096
_BUSY = 0.05  # seconds after which what others were writing to is tried again


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
) -> None:
    """Write neighbours of n listings, rows and cosines (n, 10), which the log lacks in a space.

    They must have been searched for: what is written is not searched for at the next start.
    """
    packed = np.stack([neighbours, cosines.view(np.int64)], axis=1)  # (n, 2, 10)
    log.insert(
        conn,
        log.neighbourhoods,
        [
            {"space": space, "listing": row, "nearest": blob.tobytes()}
            for row, blob in zip(rows.tolist(), packed, strict=True)
        ],
    )


def forget(conn: sa.Connection, rows: NDArray[np.int64]) -> None:
    """Remove what the log has of the neighbours of listings, (n,), in any space."""
    table, gone = log.neighbourhoods, rows.tolist()
    for start in range(0, len(gone), _PART):
        conn.execute(table.delete().where(table.c.listing.in_(gone[start : start + _PART])))


def load(
    bandit: Pricebandit,
    rows: NDArray[np.int64],
    read_at: NDArray[np.int64],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Put neighbours of rows into memory, and find those that the log lacks in this space.

    Args:
        rows: listings read from the log, ascending, (n,). read_at: their `updated_at` then, (n,).
    """
    catalogue = bandit.catalogue
    catalogue.cosines = partial(_cosines, bandit.listing_texts)
    if not len(rows):
        return
    table, known = log.neighbourhoods.c, np.zeros(len(catalogue), np.bool_)
    query = sa.select(table.listing, table.nearest).where(
        table.space == bandit.space, table.listing.between(int(rows[0]), int(rows[-1]))
    )
    for part in bandit.log.stream(query, table.listing):
        found = np.array([row.listing for row in part], np.int64)
        packed = np.frombuffer(b"".join(row.nearest for row in part), np.int64)
        packed = packed.reshape(len(part), 2, NEIGHBOURS)
        catalogue.neighbours[found] = packed[:, 0]
        catalogue.similarity[found] = packed[:, 1].view(np.float64)
        # neighbours may have been deleted, or have other texts, since this was stored
        catalogue.measure(found)
        known[found] = True
    wanted = ~known[rows] & catalogue.active[rows] & (catalogue.text[rows] >= 0)
    _find(bandit, rows[wanted], read_at[wanted], progress)


def _cosines(
    texts: EmbeddingCache, one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float32]:
    """Cosines of m pairs of embeddings, by their ids, (m,) each."""
    found = np.empty(len(one), np.float32)
    for start in range(0, len(one), _PART):
        pairs = (
            texts.vectors(one[start : start + _PART]),
            texts.vectors(other[start : start + _PART]),
        )
        found[start : start + _PART] = np.einsum("md,md->m", *pairs)
    return found


def _find(
    bandit: Pricebandit,
    rows: NDArray[np.int64],
    read_at: NDArray[np.int64],
    progress: Callable[[int, int], None] | None,
) -> None:
    """Find the neighbours of active rows in this space, and keep them in the log and in memory."""
    catalogue = bandit.catalogue
    for start in range(0, len(rows), _PART):
        part = rows[start : start + _PART]
        vectors, _ = bandit.vectors(part)
        similarity, similar = search(bandit, vectors, np.empty(0, np.int64))
        currency = catalogue.currency[part].tolist()
        neighbours, cosines = catalogue.nearest(part, currency, similarity, similar)
        catalogue.neighbours[part], catalogue.similarity[part] = neighbours, cosines
        left = np.arange(len(part))
        while len(left):
            with bandit.log.transaction() as conn:
                store(conn, bandit.space, part[left], neighbours[left], cosines[left])
                busy = _drop_changed(conn, bandit.space, part[left], read_at[start + left])
            left = left[busy]
            if len(left):
                time.sleep(_BUSY)
                if progress:  # which may say that it is no longer wanted
                    progress(start, len(rows))
        if progress:
            progress(start + len(part), len(rows))


def _drop_changed(
    conn: sa.Connection, space: str, rows: NDArray[np.int64], read_at: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Take back, in the transaction that stored them, neighbours of listings changed since read,
    and of those that others write to meanwhile, perhaps for a price alone: which are the latter,
    bool (n,).

    Another state may have registered a listing anew while its old text was searched with: it has
    removed what was stored by then, and these, which it could not see, are those of the old text.
    """
    table, kept = log.listings.c, log.neighbourhoods
    # SQLite: having stored, we alone write until the commit. PostgreSQL: whoever changes a listing
    # from here on waits for us, then removes what we stored; a listing that is being written to is
    # skipped, since waiting for it both ways would be a deadlock.
    query = sa.select(table.row, table.updated_at).where(table.row.in_(rows.tolist()))
    query = query.with_for_update(read=True, skip_locked=True)
    now = {row.row: row.updated_at for row in conn.execute(query)}
    changed = [
        row for row, at in zip(rows.tolist(), read_at.tolist(), strict=True) if now.get(row) != at
    ]
    if changed:
        conn.execute(kept.delete().where(kept.c.space == space, kept.c.listing.in_(changed)))
    return np.array([row not in now for row in rows.tolist()])
