"""Batches of price requests, from their market texts to the log and their answers."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from encoders import EmbeddingCache, EncoderError, market_texts
from service import log
from service.catalogue import Catalogue
from service.items import Items
from service.pricebandit import Pending, Pricebandit, now_us
from service.problems import ItemError, Moved
from service.reading import inside_listing
from service.registering import Embedded, embed_what_ifs, without_currency_changes
from service.rounds import Round

_LOGGER = logging.getLogger("pricebandit")


@dataclass(frozen=True, slots=True)
class PriceBatch:
    """Sound price requests; inline listings are registered before, or asked about what-if.

    Attributes:
        items: n requests. market_text: float32 (n, d).
        market_lost: requests whose market text could not be embedded, bool (n,).
        explore, record: as the contract has them.
        inline: what-if listings of the items that carry one, matched by their index; None where
            all requests are by id.
        space: that the vectors are in.
    """

    items: Items
    market_text: NDArray[np.float32]
    market_lost: NDArray[np.bool_]
    explore: bool
    record: bool
    inline: Embedded | None
    space: str

    @property
    def what_if(self) -> NDArray[np.bool_]:
        """Requests about a listing as it might be, bool (n,)."""
        if self.inline is None:
            return np.zeros(len(self.items.rows), np.bool_)
        return np.isin(self.items.index, self.inline.items.index)


def missing_markets(bandit: Pricebandit, items: Items) -> tuple[EmbeddingCache, list[str]]:
    """The cache that `embed_markets` embeds with, and the texts that it lacks; for any thread."""
    texts = [text for text in market_texts(items.column("market")) if text]
    return bandit.other_texts, bandit.other_texts.missing(texts)


def embed_markets(
    bandit: Pricebandit, items: Items
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Market texts of price requests as vectors, float32 (n, d), and which of them were lost to a
    failing encoder, bool (n,); for any thread.
    """
    texts = market_texts(items.column("market"))
    vectors = np.zeros((len(texts), bandit.encoder.dim), np.float32)
    spoken = np.array([bool(text) for text in texts], np.bool_)
    if spoken.any():
        try:
            vectors[spoken] = bandit.other_texts.embed([t for t in texts if t]).vectors
        except EncoderError:
            _LOGGER.exception("priced without market text")
            return vectors, spoken
    return vectors, np.zeros(len(texts), np.bool_)


def price(bandit: Pricebandit, conn: sa.Connection, batches: Sequence[PriceBatch]) -> Pending:
    """Price all batches in one pass, or in as few as a `Round` finds.

    Raises:
        Moved: a batch was embedded in another space than the bandit's.
    """
    Moved.check(bandit.space, batches)
    batches = [_known(bandit, batch) for batch in batches]
    asked = Round(bandit, batches, now_us())
    asked.decide(conn)
    if asked.stored:
        log.insert(conn, log.decisions, asked.stored)
        asked.after.append(partial(_note_prices, bandit.catalogue, asked.stored))
    out = _answers(batches, asked.answers, asked.refused, bandit.fold.version)
    passing = [i for i, batch in enumerate(batches) if any(e.again for e in batch.items.errors)]
    return Pending(out, _all_of(asked.after), frozenset(passing))


def _answers(
    batches: Sequence[PriceBatch],
    decided: Sequence[dict[str, Any] | None],
    refused: Sequence[ItemError],
    version: str,
) -> list[dict[str, Any]]:
    """What each batch is answered.

    Args:
        decided: of the requests of all batches, one after the other; None where refused.
        refused: by their place among these. version: of the model.
    """
    out, start = [], 0
    for batch in batches:
        end = start + len(batch.items.rows)
        errors = batch.items.errors + [
            ItemError(int(batch.items.index[e.index - start]), e.field, e.message)
            for e in refused
            if start <= e.index < end
        ]
        out.append(
            {
                "model_version": version,
                "decisions": [a for a in decided[start:end] if a is not None],
                "errors": [e.as_json() for e in sorted(errors, key=lambda e: e.index)],
            }
        )
        start = end
    return out


def what_if(bandit: Pricebandit, items: Items) -> dict[str, Any]:
    """Best estimates for listings that are not to be registered; nothing is recorded."""
    requests = [{"listing_id": row["listing_id"], "listing": row} for row in items.rows]
    asked = Items(requests, items.index, items.errors, items.total)
    n = len(requests)
    blank = np.zeros((n, bandit.encoder.dim), np.float32)
    inline = embed_what_ifs(bandit, Items(items.rows, items.index, [], items.total))
    batch = PriceBatch(asked, blank, np.zeros(n, np.bool_), False, False, inline, bandit.space)
    return bandit.carry_out(price, [batch])[0]


def _known(bandit: Pricebandit, batch: PriceBatch) -> PriceBatch:
    """The batch less requests for unknown listings, for what-ifs in another currency, and for
    listings that came inline and have other terms by now.
    """
    items, inline = batch.items, batch.inline
    rows = bandit.catalogue.rows(items.column("listing_id"))
    known = rows >= 0
    refused: list[ItemError] = []
    if inline is not None:
        known |= np.isin(items.index, inline.items.index)
        inline = without_currency_changes(bandit, inline)
        refused = inside_listing(inline.items.errors)
    if batch.record:
        refused += _overtaken(bandit, items, rows)
    refused += [
        ItemError(
            int(items.index[i]),
            "listing_id",
            f"listing_id is {items.rows[i]['listing_id']!r:.80}: unknown, register it first "
            "or send it inline as `listing`",
        )
        for i in np.flatnonzero(~known).tolist()
    ]
    if not refused:
        return batch
    left = items.without(refused)
    kept = np.isin(items.index, left.index)
    return PriceBatch(
        left, batch.market_text[kept], batch.market_lost[kept], batch.explore, batch.record,
        inline, batch.space,
    )  # fmt: skip


def _overtaken(bandit: Pricebandit, items: Items, rows: NDArray[np.int64]) -> list[ItemError]:
    """Errors of requests whose inline listing was registered anew, by another request or item,
    since it was registered for them: a price within other limits would not be theirs.

    Args:
        rows: of their listings, int64 (n,), -1 for unknown ones.
    """
    document = bandit.catalogue.document
    # what contradicts itself does so again
    last = {row["listing_id"]: row["listing"] for row in items.rows if "listing" in row}
    return [
        ItemError(
            int(items.index[i]),
            "listing",
            f"listing {row['listing_id']!r:.80} was sent with other terms meanwhile, by another "
            "request or in this batch: send this one again",
            again=document[at] != last[row["listing_id"]],
        )
        for i, (row, at) in enumerate(zip(items.rows, rows.tolist(), strict=True))
        if at >= 0 and "listing" in row and document[at] != row["listing"]
    ]


def _note_prices(catalogue: Catalogue, stored: Sequence[dict[str, Any]]) -> None:
    """Note prices decided, given as rows of the log by rising id."""
    catalogue.note_prices(
        np.array([row["listing"] for row in stored], np.int64),
        np.array([row["price"] for row in stored], np.int64),
        [row["family"] for row in stored],
        [row["unit"] for row in stored],
        np.array([row["at"] for row in stored], np.int64),
        stored[-1]["id"],
    )


def _all_of(steps: Sequence[Callable[[], None]]) -> Callable[[], None]:
    def apply() -> None:
        for step in steps:
            step()

    return apply
