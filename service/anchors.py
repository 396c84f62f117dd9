"""Anchors follow what a seller corrects: own sales are then told relative to the new one."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from service import log
from service.items import numbers
from service.pricebandit import Pricebandit

FAR = 1.5
"""Log units that a corrected price may lie off before curves are reckoned from it: hypotheses
reach 3 to either side, and buyers may think a listing worth something else than it says."""

PAID_WITHIN = 2.0
"""Log units from the mean price that was paid, within which an anchor is kept: what was sold there
must be told by curves that reach so far."""


def corrected(
    bandit: Pricebandit, rows: NDArray[np.int64], documents: Sequence[dict[str, Any]]
) -> NDArray[np.float64]:
    """Anchors of listings in the catalogue under the terms they are sent with now, (n,); NaN where
    they stay, as nearly always.

    A mistyped price leaves an anchor from which the right one may be out of reach. The reference
    price tells where it should lie, or by how much the cost changed.

    Args:
        rows: of the catalogue, (n,). documents: as the listings will be.
    """
    catalogue = bandit.catalogue
    before = catalogue.anchor[rows]
    reference, cost = (_log(numbers(documents, name)) for name in ("reference_price", "unit_cost"))
    wanted = np.where(np.isnan(reference), before + cost - catalogue.log_cost(rows), reference)
    evidence = bandit.policy.evidence
    slot = evidence.rows_of(rows)
    own = np.flatnonzero(slot >= 0)
    units, _, revenue, _ = evidence.totals[slot[own]].numpy().T
    paid = np.full(len(rows), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        paid[own] = _log(revenue / units)
    within = np.clip(wanted, paid - PAID_WITHIN, paid + PAID_WITHIN)
    wanted = np.where(np.isnan(paid), wanted, within)
    return np.where(np.abs(wanted - before) > FAR, wanted, np.nan)


def _log(number: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of numbers above 0, (n,), NaN where they are not, or not finite."""
    good = np.isfinite(number) & (number > 0)
    return np.log(np.where(good, number, np.nan))


def correct(
    bandit: Pricebandit,
    conn: sa.Connection,
    rows: NDArray[np.int64],
    documents: Sequence[dict[str, Any]],
) -> Callable[[], None]:
    """Log anchors that are `corrected`; what moves them in memory, and own evidence with them."""
    anchors = corrected(bandit, rows, documents)
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
