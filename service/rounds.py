"""Price requests decided in passes: families agree, steps follow each other, threads share rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import GUARDRAILS, Policy, Stock
from service import bounds, decisions, ids, inventory
from service.anchors import follow, set_anchors
from service.experiments import (
    enrolled,
    kept_to_reference,
    running_at,
    sides_at,
    unit_of_day_left_out,
)
from service.family_prices import Held
from service.gathering import subjects_of
from service.pricebandit import Pricebandit
from service.problems import ItemError
from service.steps import Steps
from service.subjects import Priced, Subjects, leaders, listings_of

if TYPE_CHECKING:
    from service.pricing import PriceBatch

_SHARE = 256
"""Rows below which it does not pay to have another thread price them."""


class Round:
    """The requests of some batches, one after the other, and what becomes of them.

    Args:
        batches: of which every request is about a listing that there is. at: microseconds since
            1970 UTC.

    Attributes:
        answers: of each request, None where it was refused. refused: by their place.
        stored: rows of the log, by rising id. after: what is to be done once they are written.
    """

    def __init__(self, bandit: Pricebandit, batches: Sequence[PriceBatch], at: int) -> None:
        self._bandit, self._at = bandit, at
        sizes = [len(batch.items.rows) for batch in batches]
        number = np.repeat(np.arange(len(batches)), sizes)
        self._requests = [row for batch in batches for row in batch.items.rows]
        self._explored, self._recorded = (
            np.array(flags, np.bool_)[number]
            for flags in ([b.explore for b in batches], [b.record for b in batches])
        )
        self._keys = ids.decision_ids(len(number), at, bandit.catalogue.decided_until)
        self.answers: list[dict[str, Any] | None] = [None] * len(number)
        self.refused: list[ItemError] = []
        self.stored: list[dict[str, Any]] = []
        self.after: list[Callable[[], None]] = []
        self._passes: list[NDArray[np.int64]] = []
        if len(number):
            what_if = np.concatenate([batch.what_if for batch in batches])
            self._gather(batches, number, what_if)

    def _gather(
        self, batches: Sequence[PriceBatch], number: NDArray[np.int64], what_if: NDArray[np.bool_]
    ) -> None:
        """Read what there is to know of the requests, and in which passes they are priced."""
        bandit, catalogue, at = self._bandit, self._bandit.catalogue, self._at
        # what-ifs may name families that are not in the catalogue, which is not to know of them
        codes = dict(catalogue.family_code) if any(batch.inline for batch in batches) else {}
        parts = [
            subjects_of(bandit, b.items, b.market_text, b.market_lost, b.inline, codes)
            for b in batches
            if b.items.rows
        ]
        subjects = Subjects.concatenate(parts)
        families = bounds.keys_of(subjects, at)
        self._held = bounds.prices_before(subjects, families, catalogue)
        kin = bounds.kin_of(subjects, catalogue)
        self._common = bounds.common_to(subjects, kin, what_if)
        self._sensible = bounds.sensible_for(subjects, catalogue, kin)
        running = running_at(bandit.experiments, at)
        self._sides = None
        if running is not None:
            sides = bandit.sides.of(running, at)
            if sides is not bandit.sides:  # a clock that was set may lead to a period of before
                sides = sides_at(bandit.log.engine, [running], catalogue, at)
            subjects = unit_of_day_left_out(subjects, at)
            subjects = enrolled(subjects, catalogue, running, sides, self._recorded)
            self.after.append(partial(setattr, bandit, "sides", sides))
            self._sides = sides
        self._subjects = subjects
        self._steps = steps = Steps(subjects, self._recorded, families)
        self._passes = passes_of(
            subjects.family, self._explored, self._recorded, number, steps.turn
        )
        # ids rise as prices are decided: a step counts from the one decided before
        self._keys[np.argsort(steps.turn, kind="stable")] = self._keys.copy()

    def decide(self, conn: sa.Connection) -> None:
        """Price all requests."""
        self._bandit.policy.head.prepare(many=True)  # threads may then read it
        while self._passes:
            mine = self._passes.pop(0)
            shares = shares_of(mine, self._subjects.family, self._bandit.crew.size)
            left_out: list[int] = []
            made = self._bandit.crew.map(self._priced, shares)
            for share, (found, written) in zip(shares, made, strict=True):
                self._take(conn, share, found, written)
                left_out += share[[e.index for e in found.refused]].tolist()
            if left_out and self._recorded[mine[0]]:
                self._open_anew(np.array(left_out))
        self.stored.sort(key=lambda row: row["id"])

    def _priced(self, mine: NDArray[np.int64]) -> tuple[Priced, decisions.Written]:
        """Price some requests and spell the decisions out, on any thread."""
        bandit, catalogue, at = self._bandit, self._bandit.catalogue, self._at
        part = self._subjects.take(mine)
        guess, sd = bandit.guesses.of(catalogue, part)
        stock = inventory.stock_of(
            catalogue, bandit.policy.evidence, part, bandit.settings.horizon_days, at
        )
        found = decide(
            bandit.policy, part, guess, sd, self._held, self._common[:, mine],
            self._sensible[:, mine], self._keys[mine], bool(self._explored[mine[0]]), at, stock,
            bandit.guesses.nothing_known(part),
        )  # fmt: skip
        where = mine[found.kept]
        return found, decisions.write(
            found, catalogue, [self._requests[i] for i in where], self._keys[where],
            self._recorded[where], bandit.fold.version, bandit.fold.features_of, at,
        )  # fmt: skip

    def _take(
        self,
        conn: sa.Connection,
        share: NDArray[np.int64],
        made: Priced,
        written: decisions.Written,
    ) -> None:
        """Note what was decided on some requests, which those of later passes are held to."""
        self.refused += [ItemError(int(share[e.index]), e.field, e.message) for e in made.refused]
        for i, answer in zip(share[made.kept].tolist(), written.answers, strict=True):
            self.answers[i] = answer
        self.stored += written.rows
        if not self._recorded[share[0]]:
            return
        new = np.isnan(made.subjects.anchor)
        rows, anchors = made.subjects.listing[new], made.listings.anchor[new]
        at = np.full(len(rows), self._at)
        self.after.append(set_anchors(self._bandit, conn, rows, anchors, at))
        old, guess = made.subjects.listing[~new], made.listings.context.guess[~new]
        self.after.append(follow(self._bandit, conn, old, guess))
        if self._sides is not None:
            self.after.append(partial(self._sides.take, made.subjects))
        self._steps.note(share[made.kept], made.decisions.price)
        self._held.update(bounds.prices_held(made.subjects, made.decisions.price, self._at))

    def _open_anew(self, left_out: NDArray[np.int64]) -> None:
        """Let others open the steps of listings whose opening requests were refused."""
        instead = self._steps.opened_anew(left_out)
        rest = [part[~np.isin(part, instead)] for part in self._passes]
        explored = self._explored[instead]
        passes = [instead[explored], instead[~explored], *rest]
        self._passes = [part for part in passes if part.size]


def passes_of(
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


def shares_of(
    rows: NDArray[np.int64], family: NDArray[np.int64], size: int
) -> list[NDArray[np.int64]]:
    """Rows shared out among `size` threads, where they are many: none parts a family."""
    count = min(size, len(rows) // _SHARE)
    if count < 2:
        return [rows]
    mine = family[rows]
    share = np.where(mine >= 0, mine % count, np.arange(len(rows)) * count // len(rows))
    return [part for i in range(count) if (part := rows[share == i]).size]


def decide(
    policy: Policy,
    subjects: Subjects,
    guess: NDArray[np.float64],
    guess_sd: NDArray[np.float64],
    family_prices: Mapping[bounds.Key, Held],
    common: NDArray[np.int64],
    sensible: NDArray[np.float64],
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
        sensible: lowest and highest price that makes sense, currency units, (2, n).
        ids: decision ids, uint64 (n, 2). stock: what is left of each subject. unknown: whether
            no price told what to guess, (n,); none unless given.
    """
    silent = np.zeros(len(subjects), np.bool_) if unknown is None else unknown
    group, held = bounds.groups_of(subjects, family_prices, at_us)
    allowed = bounds.bounds_of(subjects, sensible, held)
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
    leader = leaders(group)
    shared = bounds.shared(allowed, leader, common, held)
    shown = inventory.impressions_of(policy.evidence, subjects)
    charged = kept_to_reference(shared, subjects, leader)
    listings = listings_of(subjects, guess, guess_sd, charged, leader, at_us, stock, shown)
    decisions = policy.decide(listings, ids, explore)
    narrowed = (shared.lower > allowed.lower) | (shared.upper < allowed.upper)
    decisions.ladders.guardrails[(held >= 0) | narrowed, GUARDRAILS.index("family")] = True
    return Priced(subjects, kept, listings, decisions, refused, silent[kept])
