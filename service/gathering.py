"""Price requests as subjects: columns from the catalogue and from what-ifs that are not in it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.catalogue import Catalogue
from service.items import Items, numbers
from service.pricebandit import Pricebandit
from service.registering import Embedded
from service.subjects import Subjects, gather


def subjects_of(
    bandit: Pricebandit,
    items: Items,
    market_text: NDArray[np.float32],
    market_lost: NDArray[np.bool_],
    inline: Embedded | None,
    families: dict[str, int],
) -> Subjects:
    """Columns of what requests ask to price, in their order.

    Args:
        items: n requests. market_text, market_lost, inline: see `pricing.PriceBatch`.
        families: codes of families; grows by those that only what-ifs name.
    """
    catalogue = bandit.catalogue
    rows = catalogue.rows(items.column("listing_id"))
    market = [row.get("market", {}) for row in items.rows]
    asked = {
        "market_text": market_text,
        "market_lost": market_lost,
        "competitor_price": numbers(market, "competitor_price"),
        "traffic": numbers(market, "traffic"),
        "promotion": np.array([_promoted(m) for m in market], np.float64),
        "current_price": items.numbers("current_price"),
        "inventory": items.numbers("inventory"),
        "periods_left": items.numbers("periods_left"),
        "unit": np.array(items.column("unit"), object),
    }
    if inline is None or not inline.items.rows:
        return bandit.anchored(gather(catalogue, rows, rows, *bandit.vectors(rows), asked))
    hypothetical = np.isin(items.index, inline.items.index)
    by_id, what_if = np.flatnonzero(~hypothetical), np.flatnonzero(hypothetical)
    columns = _taken(asked, what_if)
    parts = [_what_ifs(catalogue, inline, rows[what_if], columns, families)]
    if len(by_id):
        known = rows[by_id]
        parts.append(gather(catalogue, known, known, *bandit.vectors(known), _taken(asked, by_id)))
    there = Subjects.concatenate(parts).take(np.argsort(np.concatenate([what_if, by_id])))
    return bandit.anchored(there)


def _what_ifs(
    catalogue: Catalogue,
    inline: Embedded,
    listing: NDArray[np.int64],
    asked: dict[str, Any],
    families: dict[str, int],
) -> Subjects:
    """Listings that are priced as if they were registered; own sales count where they are."""
    n = len(listing)
    scratch = Catalogue()
    scratch.family_code = families
    scratch.category_code = dict(catalogue.category_code)
    place = np.arange(n)
    scratch.put(place, inline.items.rows, np.full(n, -1, np.int64), np.zeros(n, np.bool_))
    scratch.neighbours[:n], scratch.similarity[:n] = catalogue.nearest(
        listing, inline.items.column("currency"), inline.similarity, inline.similar
    )
    known = listing >= 0
    scratch.sold[:n][known] = catalogue.sold[listing[known]]
    scratch.first_at[:n][known] = catalogue.first_at[listing[known]]
    scratch.last_price[:n][known] = catalogue.last_price[listing[known]]
    return gather(scratch, place, listing, inline.vectors, inline.text >= 0, asked)


def _taken(columns: dict[str, Any], rows: NDArray[np.int64]) -> dict[str, Any]:
    return {name: column[rows] for name, column in columns.items()}


def _promoted(market: dict[str, Any]) -> float:
    """1 on promotion: true, a name of it, or a number above 0; an empty name is none."""
    promotion = market.get("promotion", 0)
    if isinstance(promotion, str):
        return float(bool(promotion.strip()))
    return min(max(float(promotion), 0.0), 1.0)
