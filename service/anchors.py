"""Anchors, the prices that own evidence is relative to: set with the first of it, and moved where a
seller corrects what was mistyped.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from bandits import as_charged, whole_numbers
from service import log
from service.items import log_of, numbers
from service.learning import COUNTING
from service.pricebandit import Pricebandit

FAR = 1.5
"""Log units that a corrected price may lie off before curves are reckoned from it: hypotheses
reach 3 to either side, and buyers may think a listing worth something else than it says."""

PAID_WITHIN = 2.0
"""Log units from the mean price that was paid, within which an anchor is kept: what was sold there
must be told by curves that reach so far."""

_NEAR = 0.1  # log units within which a logged anchor is as good as the guess


def set_anchors(
    bandit: Pricebandit,
    conn: sa.Connection,
    rows: NDArray[np.int64],
    anchors: NDArray[np.float64],
    at_us: NDArray[np.int64],
) -> Callable[[], None]:
    """Log the anchors of listings without own evidence, and since when they are offered,
    (m,) each; what sets both in memory.

    A listing's evidence is relative to its anchor for ever; until there is any, the anchor
    follows the guess, which may have been made of a mistyped price.
    """
    # guesses move a little with every lesson, which is not worth a write
    moved = ~(np.abs(anchors - bandit.catalogue.anchor[rows]) < _NEAR)  # NaN: never set
    rows, anchors, at_us = rows[moved], anchors[moved], at_us[moved]
    rows, first, place = np.unique(rows, return_index=True, return_inverse=True)
    anchors, first_at = anchors[first], at_us[first]
    np.minimum.at(first_at, place, at_us)
    known = bandit.catalogue.first_at[rows]
    first_at = np.where(np.isnan(known), first_at, known).astype(np.int64)
    log.update_listings(conn, rows.tolist(), anchor=anchors.tolist(), first_at=first_at.tolist())

    def apply() -> None:
        bandit.catalogue.anchor[rows] = anchors
        bandit.catalogue.first_at[rows] = first_at

    return apply


def set_first(
    bandit: Pricebandit, conn: sa.Connection, rows: NDArray[np.int64], at_us: NDArray[np.int64]
) -> Callable[[], None]:
    """Log since when listings are offered where that is earlier than was known, (m,) each; what
    sets it in memory. Records may come in any order, and decisions by a clock that was ahead.
    """
    rows, place = np.unique(rows, return_inverse=True)
    first_at = np.full(len(rows), np.inf)
    np.minimum.at(first_at, place, at_us)
    earlier = first_at < bandit.catalogue.first_at[rows]  # NaN: set with the anchor
    rows, first_at = rows[earlier], first_at[earlier]
    log.update_listings(conn, rows.tolist(), first_at=first_at.astype(np.int64).tolist())

    def apply() -> None:
        bandit.catalogue.first_at[rows] = first_at

    return apply


def reset_anchors(bandit: Pricebandit, conn: sa.Connection, rows: NDArray[np.int64]) -> None:
    """Log anchors of listings, (n,), and since when they are offered, as they would be without the
    sales that were taken back; in memory nothing changes.

    A listing never decided on has the price of the first sale that is left, or none. The anchor of
    another is kept if that price, or the reference price, or the one decided last lies near.
    """
    catalogue, o, d, s = bandit.catalogue, log.outcomes.c, log.decisions.c, log.sales.c
    where, n = rows.tolist(), len(rows)
    place = {row: i for i, row in enumerate(where)}
    first, since, last = np.full((3, n), np.nan)
    paid = np.zeros((2, n))  # revenue and units
    decided = sa.select(d.listing, sa.func.min(d.at).label("at")).group_by(d.listing)
    for row in log.select_in(conn, decided, d.listing, where):
        i = place[row.listing]
        since[i], last[i] = row.at, catalogue.last_price[row.listing]
    net = o.units - o.returned_units
    # pence of a decision, and all the more their sum, may be more than an integer holds
    pence = sa.cast(net, sa.Double) * d.price
    sums = sa.func.sum(pence).label("revenue"), sa.func.sum(net).label("units")
    told = sa.select(d.listing, *sums)
    told = told.select_from(log.outcomes.join(log.decisions, d.id == o.decision_id))
    for row in log.select_in(conn, told.group_by(d.listing), d.listing, where):
        paid[:, place[row.listing]] += float(row.revenue), float(row.units)
    left = sa.select(s.listing, s.price, s.units, s.at).where(COUNTING, s.impressions > 0)
    for row in log.select_in(conn, left.order_by(s.seq), s.listing, where):
        i = place[row.listing]
        first[i] = row.price if np.isnan(first[i]) else first[i]
        since[i] = np.fmin(since[i], row.at)
        paid[:, i] += row.price * row.units, row.units
    per_major = catalogue.per_major[rows]
    never, reference = np.isnan(last), catalogue.number["reference_price"][rows]
    with np.errstate(invalid="ignore", divide="ignore"):
        sold_at = np.log(np.where(paid[1] > 0, paid[0] / paid[1], np.nan) / per_major)
        others = np.where(np.isnan(reference), last, reference)
        wanted = np.log(np.where(never | ~np.isnan(first), first / per_major, others))
    anchor = _in_reach(wanted, sold_at)
    before = catalogue.anchor[rows]
    anchor = np.where(~never & (np.abs(anchor - before) <= FAR), before, anchor)
    log.update_listings(
        conn,
        where,
        anchor=[None if np.isnan(a) else a for a in anchor.tolist()],
        first_at=[None if np.isnan(at) else int(at) for at in since.tolist()],
    )


def _in_reach(wanted: NDArray[np.float64], paid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Anchors as wanted, or as near to that as what was sold allows, (n,); paid: NaN if nothing."""
    within = np.clip(wanted, paid - PAID_WITHIN, paid + PAID_WITHIN)
    return np.where(np.isnan(paid), wanted, within)


def corrected(
    bandit: Pricebandit, rows: NDArray[np.int64], documents: Sequence[dict[str, Any]]
) -> NDArray[np.float64]:
    """Anchors of listings in the catalogue under the terms they are sent with now, (n,); NaN where
    they stay, as nearly always.

    A mistyped price leaves an anchor from which the right one may be out of reach, and so does a
    guess from text alone. The reference price tells where it should lie, or by how much the cost
    changed, or the cost where none was known.

    Args:
        rows: of the catalogue, (n,). documents: as the listings will be.
    """
    catalogue = bandit.catalogue
    before = catalogue.anchor[rows]
    said, cost = (numbers(documents, name) for name in ("reference_price", "unit_cost"))
    cost = log_of(cost)
    reference, _ = as_charged(log_of(said), cost, bandit.guesses.markup, whole_numbers(said))
    known = catalogue.log_cost(rows)
    by_cost = np.where(np.isnan(known), cost + bandit.guesses.markup, before + cost - known)
    return _moved(bandit, rows, np.where(np.isnan(reference), by_cost, reference))


def _moved(
    bandit: Pricebandit, rows: NDArray[np.int64], wanted: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Anchors of listings as wanted, within reach of what was paid, (n,); NaN where those they have
    are near enough, or none is wanted.
    """
    evidence = bandit.policy.evidence
    slot = evidence.rows_of(rows)
    own = np.flatnonzero(slot >= 0)
    units, _, revenue, _ = evidence.totals[slot[own]].numpy().T
    paid = np.full(len(rows), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        paid[own] = log_of(revenue / units)
    wanted = _in_reach(wanted, paid)
    return np.where(np.abs(wanted - bandit.catalogue.anchor[rows]) > FAR, wanted, np.nan)


def correct(
    bandit: Pricebandit,
    conn: sa.Connection,
    rows: NDArray[np.int64],
    documents: Sequence[dict[str, Any]],
) -> Callable[[], None]:
    """Log anchors that are `corrected`; what moves them in memory, and own evidence with them."""
    anchors = corrected(bandit, rows, documents)
    move = _move(bandit, conn, rows, anchors)

    def apply() -> None:
        # what was learned under other terms would move them back
        bandit.catalogue.learned_price[rows[~np.isnan(anchors)]] = np.nan
        move()

    return apply


def follow(
    bandit: Pricebandit, conn: sa.Connection, rows: NDArray[np.int64], guess: NDArray[np.float64]
) -> Callable[[], None]:
    """Log anchors of listings with own evidence, (m,), repeats allowed, that have been left far
    behind by what that evidence points to, or where it says too little by the present guess of
    their prices, (m,); what moves them in memory.

    What is withdrawn, and what neighbours said, tells no other price to go by. And curves reach no
    further than they do: a pen in a shop of furniture that nobody buys at any price they know is
    worth less than they can tell.
    """
    rows, first = np.unique(rows, return_index=True)
    learned = bandit.catalogue.learned_price[rows]
    wanted = np.where(np.isnan(learned), guess[first], learned)
    return _move(bandit, conn, rows, _moved(bandit, rows, wanted))


def _move(
    bandit: Pricebandit, conn: sa.Connection, rows: NDArray[np.int64], anchors: NDArray[np.float64]
) -> Callable[[], None]:
    """Log anchors of listings, (n,), NaN where they stay; what moves them in memory."""
    moved = ~np.isnan(anchors)
    rows, anchors = rows[moved], anchors[moved]
    if not len(rows):
        return lambda: None
    log.update_listings(conn, rows.tolist(), anchor=anchors.tolist())
    restate = bandit.fold.restated(conn, bandit.catalogue, rows)

    def apply() -> None:
        bandit.catalogue.anchor[rows] = anchors
        restate()
        bandit.learned(rows)

    return apply
