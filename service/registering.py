"""Listings come in: embedded, given their neighbours, upserted."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import orjson
import sqlalchemy as sa
from numpy.typing import NDArray

import encoders
from service import anchors, log, neighbourhoods
from service.items import Items
from service.pricebandit import Pending, Pricebandit, listing_texts_of, now_us
from service.problems import ItemError, Moved, Problem


@dataclass(frozen=True, slots=True)
class Embedded:
    """Listings with their embeddings, before they are registered.

    Attributes:
        items: sound listings, n. text: ids of their embeddings, int64 (n,), -1 if not embedded.
        trained_on: whether the encoder was fitted to their texts, bool (n,).
        similarity, similar: cosines and embedding ids of the nearest, (n, 30).
        vectors: float32 (n, d). encoded, cached: texts newly encoded, and not.
        space: that all of it is in.
    """

    items: Items
    text: NDArray[np.int64]
    trained_on: NDArray[np.bool_]
    similarity: NDArray[np.float32]
    similar: NDArray[np.int64]
    vectors: NDArray[np.float32]
    encoded: int
    cached: int
    space: str


def embed_listings(
    bandit: Pricebandit, items: Items, progress: Callable[[int, int], None] | None = None
) -> Embedded:
    """Embed listings and find what is similar to them; for any thread.

    Raises:
        encoders.EncoderError: the model cannot be used.
    """
    texts = listing_texts_of(items.rows)
    found = bandit.listing_texts.embed(texts, progress)
    return _embedded(bandit, items, texts, found, found.ids)


def missing_listings(
    bandit: Pricebandit, items: Items
) -> tuple[encoders.EmbeddingCache, list[str]]:
    """The cache that `embed_listings` embeds with, and the texts that it lacks; for any thread."""
    cache = bandit.listing_texts
    return cache, cache.missing(listing_texts_of(items.rows))


def missing_what_ifs(
    bandit: Pricebandit, items: Items
) -> tuple[encoders.EmbeddingCache, list[str]]:
    """As `missing_listings`, for `embed_what_ifs`."""
    cache = bandit.other_texts
    return cache, cache.missing(listing_texts_of(items.rows))


def embed_what_ifs(bandit: Pricebandit, items: Items) -> Embedded:
    """As `embed_listings`, for listings that are not to be registered."""
    texts = listing_texts_of(items.rows)
    found = bandit.other_texts.embed(texts)
    return _embedded(bandit, items, texts, found, np.empty(0, np.int64))


def _embedded(
    bandit: Pricebandit,
    items: Items,
    texts: Sequence[str],
    found: encoders.Embedded,
    own: NDArray[np.int64],
) -> Embedded:
    similarity, similar = neighbourhoods.search(bandit, found.vectors, own)
    return Embedded(
        items,
        found.ids,
        bandit.encoder.trained_on(texts),
        similarity,
        similar,
        found.vectors,
        found.encoded,
        found.cached,
        bandit.space,
    )


def unembedded(bandit: Pricebandit, items: Items) -> Embedded:
    """Listings as they can be had without an encoder: no text, no neighbours."""
    n = len(items.rows)
    return Embedded(
        items,
        np.full(n, -1, np.int64),
        np.zeros(n, np.bool_),
        np.full((n, 1), -np.inf, np.float32),
        np.full((n, 1), -1, np.int64),
        np.zeros((n, bandit.encoder.dim), np.float32),
        0,
        0,
        bandit.space,
    )


def register(bandit: Pricebandit, conn: sa.Connection, batches: Sequence[Embedded]) -> Pending:
    """Upsert listings by id; an id twice keeps its last.

    Raises:
        Moved: a batch was embedded in another space than the bandit's.
    """
    Moved.check(bandit.space, batches)
    begun: dict[str, str] = {}
    batches = [without_currency_changes(bandit, batch, begun) for batch in batches]
    documents = [row for batch in batches for row in batch.items.rows]
    names = [document["listing_id"] for document in documents]
    last = np.array(sorted({name: i for i, name in enumerate(names)}.values()), np.int64)
    documents = [documents[i] for i in last]
    names = [names[i] for i in last]
    width = max((batch.similar.shape[1] for batch in batches), default=1)
    text = np.concatenate([batch.text for batch in batches])[last]
    trained_on = np.concatenate([batch.trained_on for batch in batches])[last]
    similarity = np.concatenate([_wide(b.similarity, width, -np.inf) for b in batches])[last]
    similar = np.concatenate([_wide(b.similar, width, -1) for b in batches])[last]
    at = _next_change(bandit)
    rows = bandit.catalogue.assign(names)
    new = rows >= len(bandit.catalogue)
    stored = [
        {
            "row": row,
            "listing_id": name,
            "document": orjson.dumps(document, default=str).decode(),
            "registered_at": at,
            "updated_at": at,
        }
        for row, name, document in zip(rows.tolist(), names, documents, strict=True)
    ]
    currencies = [document["currency"] for document in documents]
    neighbours, cosines = bandit.catalogue.nearest(rows, currencies, similarity, similar, text)
    fresh = [entry for entry, is_new in zip(stored, new, strict=True) if is_new]
    if fresh:
        log.insert(conn, log.listings, fresh)
    changed = [
        {
            "b_row": entry["row"],
            "document": entry["document"],
            "updated_at": at,
        }
        for entry, is_new in zip(stored, new, strict=True)
        if not is_new
    ]
    if changed:
        table = log.listings
        conn.execute(table.update().where(table.c.row == sa.bindparam("b_row")), changed)
    known = np.flatnonzero(~new)
    correct = anchors.correct(bandit, conn, rows[known], [documents[i] for i in known.tolist()])
    neighbourhoods.forget(conn, rows[~new])
    # of those without an embedding nothing is known: the next start embeds and searches them
    told = text >= 0
    neighbourhoods.store(conn, bandit.space, rows[told], neighbours[told], cosines[told])

    def apply() -> None:
        correct()
        bandit.catalogue.put(rows, documents, text, trained_on)
        bandit.catalogue.neighbours[rows] = neighbours
        bandit.catalogue.similarity[rows] = cosines
        bandit.catalogue.changed_until = at
        bandit.registered(rows)

    answers = [
        {
            "accepted": len(batch.items.rows),
            "encoded": batch.encoded,
            "cached": batch.cached,
            "errors": [error.as_json() for error in batch.items.errors],
        }
        for batch in batches
    ]
    return Pending(answers, apply)


def without_currency_changes(
    bandit: Pricebandit, batch: Embedded, begun: dict[str, str] | None = None
) -> Embedded:
    """Refuse listings whose currency would change: their sales could not be compared.

    Args:
        begun: currencies of listings about to be registered for the first time, by id; grows by
            those of the batch. None for what-ifs, which may contradict each other.
    """
    catalogue, refused = bandit.catalogue, []
    for index, document in zip(batch.items.index.tolist(), batch.items.rows, strict=True):
        name, wanted = document["listing_id"], document["currency"]
        row = catalogue.row_of.get(name)
        if row is not None:
            was = catalogue.currency[row]
        else:
            was = wanted if begun is None else begun.setdefault(name, wanted)
        if was != wanted:
            message = f"currency is {wanted!r}, was {was!r}: delete the listing first"
            refused.append(ItemError(index, "currency", message))
    if not refused:
        return batch
    kept = ~np.isin(batch.items.index, [error.index for error in refused])
    return replace(
        batch,
        items=batch.items.without(refused),
        text=batch.text[kept],
        trained_on=batch.trained_on[kept],
        similarity=batch.similarity[kept],
        similar=batch.similar[kept],
        vectors=batch.vectors[kept],
    )


def delete(bandit: Pricebandit, conn: sa.Connection, listing_ids: Sequence[str]) -> Pending:
    """Take listings out of service; what was decided on them stays in the log.

    Raises:
        Problem: 404, one of them is not in the catalogue.
    """
    rows = bandit.catalogue.rows(listing_ids)
    for missing in np.flatnonzero(rows < 0).tolist():
        raise Problem(404, f"listing_id is {listing_ids[missing]!r:.80}: unknown")
    gone = np.unique(rows)
    table = log.listings
    at = _next_change(bandit)
    gone_now = {"deleted_at": at, "updated_at": at}
    conn.execute(table.update().where(table.c.row.in_(gone.tolist())).values(gone_now))

    def apply() -> None:
        bandit.catalogue.remove(gone)
        bandit.catalogue.changed_until = at
        bandit.registered(gone)

    return Pending([{} for _ in listing_ids], apply)


def _next_change(bandit: Pricebandit) -> int:
    """When a change of listings is: now, but later than all before, though the clock went back."""
    return max(now_us(), bandit.catalogue.changed_until + 1)


def _wide(table: NDArray[Any], width: int, fill: float) -> NDArray[Any]:
    """`table` (n, k) padded with `fill` to (n, width)."""
    return np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=fill)
