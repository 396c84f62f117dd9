"""From price requests to decisions: subjects gathered, one pass of the policy, rows for the log."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import GUARDRAILS, Policy
from encoders import market_texts
from service import bounds, decisions, ids, log
from service.catalogue import Catalogue
from service.items import Items, numbers
from service.pricebandit import Pending, Pricebandit, now_us
from service.problems import ItemError
from service.registering import Embedded
from service.subjects import Priced, Subjects, gather, listings_of


@dataclass(frozen=True, slots=True)
class PriceBatch:
    """Sound price requests; inline listings are registered before, or asked about what-if.

    Attributes:
        items: n requests. market_text: float32 (n, d).
        explore, record: as the contract has them.
        inline: what-if listings of the items that carry one, matched by their index; None where
            all requests are by id.
    """

    items: Items
    market_text: NDArray[np.float32]
    explore: bool
    record: bool
    inline: Embedded | None


def embed_markets(bandit: Pricebandit, items: Items) -> NDArray[np.float32]:
    """Market texts of price requests as vectors, float32 (n, d); for any thread."""
    texts = market_texts(items.column("market"))
    vectors = np.zeros((len(texts), bandit.encoder.dim), np.float32)
    spoken = np.array([bool(text) for text in texts], np.bool_)
    if spoken.any():
        vectors[spoken] = bandit.other_texts.embed([t for t in texts if t]).vectors
    return vectors


def price(bandit: Pricebandit, conn: sa.Connection, batches: Sequence[PriceBatch]) -> Pending:
    """Price all batches in one pass (two where some explore and some do not)."""
    at = now_us()
    batches = [_known(bandit, batch) for batch in batches]
    sizes = [len(batch.items.rows) for batch in batches]
    answers: list[dict[str, Any] | None] = [None] * sum(sizes)
    refused: list[ItemError] = []
    stored: list[dict[str, Any]] = []
    after: list[Callable[[], None]] = []
    explored = np.repeat([batch.explore for batch in batches], sizes)
    recorded = np.repeat([batch.record for batch in batches], sizes)
    requests = [row for batch in batches for row in batch.items.rows]
    parts = [_subjects(bandit, batch) for batch in batches if len(batch.items.rows)]
    subjects = Subjects.concatenate(parts) if parts else None
    for explore in (True, False):
        mine = np.flatnonzero(explored == explore)
        if subjects is None or len(mine) == 0:
            continue
        part = subjects.take(mine)
        guess, sd = bandit.guesses.of(bandit.catalogue, part)
        keys = ids.decision_ids(len(mine), at)
        priced = decide(
            bandit.policy, part, guess, sd, bandit.catalogue.family_prices, keys, explore, at
        )
        refused += [ItemError(int(mine[e.index]), e.field, e.message) for e in priced.refused]
        where = mine[priced.kept]
        written = decisions.write(
            priced, bandit.catalogue, [requests[i] for i in where], keys[priced.kept],
            recorded[where], bandit.fold.version, bandit.fold.features_of, at,
        )  # fmt: skip
        for i, answer in zip(where.tolist(), written.answers, strict=True):
            answers[i] = answer
        stored += written.rows
        if recorded[where].any():
            after.append(_record(bandit, conn, priced, recorded[where], written.rows))
    if stored:
        conn.execute(log.decisions.insert(), stored)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
    out = []
    for batch, start, end in zip(batches, starts, starts[1:], strict=False):
        errors = batch.items.errors + [
            ItemError(int(batch.items.index[e.index - start]), e.field, e.message)
            for e in refused
            if start <= e.index < end
        ]
        out.append(
            {
                "model_version": bandit.fold.version,
                "decisions": [a for a in answers[start:end] if a is not None],
                "errors": [e.as_json() for e in sorted(errors, key=lambda e: e.index)],
            }
        )
    return Pending(out, _all_of(after))


def _known(bandit: Pricebandit, batch: PriceBatch) -> PriceBatch:
    """The batch less requests for listings that are neither in the catalogue nor inline."""
    items = batch.items
    known = bandit.catalogue.rows(items.column("listing_id")) >= 0
    if batch.inline is not None:
        known |= np.isin(items.index, batch.inline.items.index)
    if known.all():
        return batch
    refused = [
        ItemError(
            int(items.index[i]),
            "listing_id",
            f"listing_id is {items.rows[i]['listing_id']!r:.80}: unknown, register it first "
            "or send it inline as `listing`",
        )
        for i in np.flatnonzero(~known).tolist()
    ]
    return PriceBatch(
        items.without(refused), batch.market_text[known], batch.explore, batch.record, batch.inline
    )


def _subjects(bandit: Pricebandit, batch: PriceBatch) -> Subjects:
    """Columns of what a batch asks to price, in its order."""
    items, catalogue = batch.items, bandit.catalogue
    rows = catalogue.rows(items.column("listing_id"))
    market = [row.get("market", {}) for row in items.rows]
    asked = {
        "market_text": batch.market_text,
        "competitor_price": numbers(market, "competitor_price"),
        "traffic": numbers(market, "traffic"),
        "promotion": np.array([_promoted(m) for m in market], np.float64),
        "current_price": items.numbers("current_price"),
        "unit": np.array(items.column("unit"), object),
    }
    if batch.inline is None:
        return gather(catalogue, rows, rows, *bandit.vectors(rows), asked)
    inline = np.isin(items.index, batch.inline.items.index)
    by_id, what_if = np.flatnonzero(~inline), np.flatnonzero(inline)
    parts = [_what_ifs(catalogue, batch.inline, rows[what_if], _taken(asked, what_if))]
    if len(by_id):
        known = rows[by_id]
        parts.append(gather(catalogue, known, known, *bandit.vectors(known), _taken(asked, by_id)))
    return Subjects.concatenate(parts).take(np.argsort(np.concatenate([what_if, by_id])))


def _what_ifs(
    catalogue: Catalogue, inline: Embedded, listing: NDArray[np.int64], asked: dict[str, Any]
) -> Subjects:
    """Listings that are priced as if they were registered; own sales count where they are."""
    n = len(listing)
    scratch = Catalogue()
    place = np.arange(n)
    scratch.put(place, inline.items.rows, np.full(n, -1, np.int64))
    scratch.neighbours[:n], scratch.similarity[:n] = catalogue.nearest(
        listing, inline.items.column("currency"), inline.similarity, inline.similar
    )
    known = listing >= 0
    scratch.anchor[:n][known] = catalogue.anchor[listing[known]]
    scratch.last_price[:n][known] = catalogue.last_price[listing[known]]
    return gather(scratch, place, listing, inline.vectors, inline.text >= 0, asked)


def _taken(columns: dict[str, Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    return {name: column[rows] for name, column in columns.items()}


def decide(
    policy: Policy,
    subjects: Subjects,
    guess: NDArray[np.float64],
    guess_sd: NDArray[np.float64],
    family_prices: dict[int, tuple[str, int]],
    ids: NDArray[np.uint64],
    explore: bool,
    at_us: int,
) -> Priced:
    """Price every subject that has an allowed price.

    Args:
        guess, guess_sd: log price, currency units, and its error, (n,).
        family_prices: family → (unit, price in minor units) decided last, which holds in its unit.
        ids: decision ids, uint64 (n, 2).
    """
    allowed = bounds.bounds_of(subjects)
    refused = bounds.infeasible(subjects, allowed)
    leader, held, family_errors = bounds.families(subjects, allowed, family_prices, at_us)
    refused += [e for e in family_errors if e.index not in {r.index for r in refused}]
    kept = np.setdiff1d(np.arange(len(subjects)), [error.index for error in refused])
    if len(kept) < len(subjects):
        # members of a refused listing's family are priced without it
        subjects, allowed = subjects.take(kept), bounds.take(allowed, kept)
        leader, held, _ = bounds.families(subjects, allowed, family_prices, at_us)
        guess, guess_sd, ids = guess[kept], guess_sd[kept], ids[kept]
    listings = listings_of(
        subjects, guess, guess_sd, bounds.shared(allowed, leader, held), leader, at_us
    )
    decisions = policy.decide(listings, ids, explore)
    decisions.ladders.guardrails[held >= 0, GUARDRAILS.index("family")] = True
    return Priced(subjects, kept, listings, decisions, refused)


def _record(
    bandit: Pricebandit,
    conn: sa.Connection,
    priced: Priced,
    recorded: NDArray[np.bool_],
    stored: list[dict[str, Any]],
) -> Callable[[], None]:
    """Set anchors that are not set yet; what to note in memory after the commit."""
    subjects = priced.subjects
    new = recorded & np.isnan(subjects.anchor)
    rows, anchors = bandit.set_anchors(conn, subjects.listing[new], priced.listings.anchor[new])

    def apply() -> None:
        bandit.catalogue.anchor[rows] = anchors
        if not stored:
            return
        bandit.catalogue.note_prices(
            subjects.listing[recorded],
            priced.decisions.price[recorded],
            [row["family"] for row in stored],
            [row["unit"] for row in stored],
            np.array([row["at"] for row in stored], np.int64),
            max(row["id"] for row in stored),
        )

    return apply


def _all_of(steps: Sequence[Callable[[], None]]) -> Callable[[], None]:
    def apply() -> None:
        for step in steps:
            step()

    return apply


def _promoted(market: dict[str, Any]) -> float:
    """1 on promotion: true, a name of it, or a number above 0."""
    promotion = market.get("promotion", 0)
    return 1.0 if isinstance(promotion, str) else min(max(float(promotion), 0.0), 1.0)
