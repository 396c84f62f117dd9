"""From price requests to decisions: subjects gathered, one pass of the policy, rows for the log."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import GUARDRAILS, Policy, Stock
from encoders import EmbeddingCache, EncoderError, market_texts
from service import bounds, decisions, ids, inventory, log
from service.anchors import set_anchors
from service.catalogue import Catalogue
from service.experiments import enrolled, kept_to_reference, running_at, sides_at
from service.family_prices import Held
from service.gathering import subjects_of
from service.items import Items
from service.pricebandit import Pending, Pricebandit, now_us
from service.problems import ItemError, Moved
from service.reading import inside_listing
from service.registering import Embedded, embed_what_ifs, without_currency_changes
from service.steps import Steps
from service.subjects import Priced, Subjects, listings_of

_SHARE = 256
"""Rows below which it does not pay to have another thread price them."""

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
    """Price all batches in one pass, or in as few as `_passes` finds.

    Raises:
        Moved: a batch was embedded in another space than the bandit's.
    """
    Moved.check(bandit.space, batches)
    at = now_us()
    catalogue = bandit.catalogue
    batches = [_known(bandit, batch) for batch in batches]
    sizes = [len(batch.items.rows) for batch in batches]
    answers: list[dict[str, Any] | None] = [None] * sum(sizes)
    refused: list[ItemError] = []
    stored: list[dict[str, Any]] = []
    after: list[Callable[[], None]] = []
    number = np.repeat(np.arange(len(batches)), sizes)
    explored = np.array([batch.explore for batch in batches], np.bool_)[number]
    recorded = np.array([batch.record for batch in batches], np.bool_)[number]
    requests = [row for batch in batches for row in batch.items.rows]
    # what-ifs may name families that are not in the catalogue, which is not to know of them
    codes = dict(catalogue.family_code) if any(batch.inline for batch in batches) else {}
    parts = [
        subjects_of(bandit, b.items, b.market_text, b.market_lost, b.inline, codes)
        for b in batches
        if b.items.rows
    ]
    subjects = Subjects.concatenate(parts) if parts else None
    keys = ids.decision_ids(len(requests), at, catalogue.decided_until)
    passes: list[NDArray[np.int64]] = []
    if subjects:
        families = bounds.keys_of(subjects, at)
        held = bounds.prices_before(subjects, families, catalogue)
        what_if = np.concatenate([batch.what_if for batch in batches])
        common = bounds.common_to(subjects, catalogue, what_if)
        running = running_at(bandit.experiments, at)
        if running is not None:
            sides = bandit.sides.of(running, at)
            if sides is not bandit.sides:  # a clock that was set may lead to a period of before
                sides = sides_at(bandit.log.engine, [running], catalogue, at)
            subjects = enrolled(subjects, catalogue, running, sides, recorded)
            after.append(partial(setattr, bandit, "sides", sides))
        steps = Steps(subjects, recorded, families)
        passes = _passes(subjects.family, explored, recorded, number, steps.turn)
        # ids rise as prices are decided: a step counts from the one decided before
        keys[np.argsort(steps.turn, kind="stable")] = keys.copy()

    def priced(mine: NDArray[np.int64]) -> tuple[Priced, decisions.Written]:
        assert subjects is not None
        part = subjects.take(mine)
        guess, sd = bandit.guesses.of(catalogue, part)
        stock = inventory.stock_of(
            catalogue, bandit.policy.evidence, part, bandit.settings.horizon_days, at
        )
        explore = bool(explored[mine[0]])
        unknown = bandit.guesses.nothing_known(part)
        found = decide(
            bandit.policy, part, guess, sd, held, common[:, mine], keys[mine], explore, at, stock,
            unknown,
        )  # fmt: skip
        where = mine[found.kept]
        return found, decisions.write(
            found, catalogue, [requests[i] for i in where], keys[where],
            recorded[where], bandit.fold.version, bandit.fold.features_of, at,
        )  # fmt: skip

    bandit.policy.head.prepare()  # threads may then read it
    while passes:
        mine = passes.pop(0)
        assert subjects is not None
        shares = _shares(mine, subjects.family, bandit.crew.size)
        left_out: list[int] = []
        for share, (made, written) in zip(shares, bandit.crew.map(priced, shares), strict=True):
            refused += [ItemError(int(share[e.index]), e.field, e.message) for e in made.refused]
            left_out += share[[e.index for e in made.refused]].tolist() if made.refused else []
            for i, answer in zip(share[made.kept].tolist(), written.answers, strict=True):
                answers[i] = answer
            stored += written.rows
            if recorded[mine[0]]:
                new = np.isnan(made.subjects.anchor)
                rows, anchors = made.subjects.listing[new], made.listings.anchor[new]
                after.append(set_anchors(bandit, conn, rows, anchors, np.full(len(rows), at)))
                if running is not None:
                    after.append(partial(sides.take, made.subjects))
                steps.note(share[made.kept], made.decisions.price)
                held.update(bounds.prices_held(made.subjects, made.decisions.price, at))
        if left_out and recorded[mine[0]]:
            instead = steps.opened_anew(np.array(left_out))
            passes = [part[~np.isin(part, instead)] for part in passes]
            passes[:0] = [instead[explored[instead]], instead[~explored[instead]]]
            passes = [part for part in passes if part.size]
    if stored:
        stored.sort(key=lambda row: row["id"])
        log.insert(conn, log.decisions, stored)
        after.append(partial(_note_prices, catalogue, stored))
    out = _answers(batches, answers, refused, bandit.fold.version)
    passing = [i for i, batch in enumerate(batches) if any(e.again for e in batch.items.errors)]
    return Pending(out, _all_of(after), frozenset(passing))


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


def _passes(
    family: NDArray[np.int64],
    explored: NDArray[np.bool_],
    recorded: NDArray[np.bool_],
    number: NDArray[np.int64],
    turn: NDArray[np.int64],
) -> list[NDArray[np.int64]]:
    """Rows that are priced together; all arguments are (n,).

    Recorded requests come first, by their `turn`: families are held to their prices. What-ifs on
    families stay with their own request, by its `number`: one may not move another's price.
    """
    alone = np.where(recorded | (family < 0), 0, 1 + number)
    order = 2 * ((2 * alone + ~recorded) * (1 + turn.max()) + turn) + ~explored
    return [np.flatnonzero(order == one) for one in np.unique(order)]


def _shares(
    rows: NDArray[np.int64], family: NDArray[np.int64], size: int
) -> list[NDArray[np.int64]]:
    """Rows shared out among `size` threads, where they are many: none parts a family."""
    count = min(size, len(rows) // _SHARE)
    if count < 2:
        return [rows]
    mine = family[rows]
    share = np.where(mine >= 0, mine % count, np.arange(len(rows)) * count // len(rows))
    return [part for i in range(count) if (part := rows[share == i]).size]


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


def decide(
    policy: Policy,
    subjects: Subjects,
    guess: NDArray[np.float64],
    guess_sd: NDArray[np.float64],
    family_prices: Mapping[bounds.Key, Held],
    common: NDArray[np.int64],
    ids: NDArray[np.uint64],
    explore: bool,
    at_us: int,
    stock: Stock | None = None,
    unknown: NDArray[np.bool_] | None = None,
) -> Priced:
    """Price every subject that has an allowed price and time left to sell.

    Args:
        guess, guess_sd: log price, currency units, and its error, (n,).
        family_prices: what families are held to. common: what they agree on, minor units, (2, n).
        ids: decision ids, uint64 (n, 2). stock: what is left of each subject. unknown: whether
            no price told what to guess, (n,); none unless given.
    """
    silent = np.zeros(len(subjects), np.bool_) if unknown is None else unknown
    group, held = bounds.groups_of(subjects, family_prices, at_us)
    allowed = bounds.bounds_of(subjects, held)
    refused = bounds.infeasible(subjects, allowed)
    refused += [e for e in inventory.overdue(subjects, at_us) if allowed.feasible[e.index]]
    kept = np.delete(np.arange(len(subjects)), [e.index for e in refused])
    # families agree without their refused members
    errors = bounds.excluded(
        subjects.take(kept), bounds.take(allowed, kept), common[:, kept], group[kept], held[kept]
    )
    if errors:
        refused += [ItemError(int(kept[e.index]), e.field, e.message) for e in errors]
        kept = np.delete(kept, [e.index for e in errors])
    if len(kept) < len(subjects):
        subjects, allowed, common = subjects.take(kept), bounds.take(allowed, kept), common[:, kept]
        group, held = group[kept], held[kept]
        guess, guess_sd, ids = guess[kept], guess_sd[kept], ids[kept]
        stock = stock and stock.take(kept)
    leader = bounds.leaders(group)
    shared = bounds.shared(allowed, leader, common, held)
    shown = inventory.impressions_of(policy.evidence, subjects)
    charged = kept_to_reference(shared, subjects)
    listings = listings_of(subjects, guess, guess_sd, charged, leader, at_us, stock, shown)
    decisions = policy.decide(listings, ids, explore)
    narrowed = (shared.lower > allowed.lower) | (shared.upper < allowed.upper)
    decisions.ladders.guardrails[(held >= 0) | narrowed, GUARDRAILS.index("family")] = True
    return Priced(subjects, kept, listings, decisions, refused, silent[kept])


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
