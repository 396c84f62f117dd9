"""Where a trial is held: known listings and new ones, their hidden buyers, what is known."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evaluation.sellers.protocol import Ints
from markets import FAMILIES, Buyers, Calendar, Conditions, History, Knowledge, Regime, Season

_ARMS = 16


@dataclass(frozen=True, slots=True)
class Market:
    """What a trial is held on.

    Attributes:
        regime: what a seller knows of new listings. families: demand families, drawn evenly.
        conditions: of the new listings' season. text_share: as `Buyers.from_history`.
        known: listings priced before, at most; new: listings evaluated, at most.
        known_share: share of the product families that is known. warm_days: days the known
            listings are priced for before the new ones arrive.
    """

    regime: Regime
    families: tuple[str, ...] = FAMILIES[:3]
    conditions: Conditions = field(default_factory=Conditions)
    text_share: float = 0.5
    known: int = 1500
    new: int = 400
    known_share: float = 0.8
    warm_days: int = 20


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """A market drawn from one seed: the same for every seller.

    Attributes:
        buyers, knowledge: of all listings, known and new. known, new: their rows, int64.
        calendar: seasonality and arrivals.
    """

    market: Market
    seed: int
    buyers: Buyers
    knowledge: Knowledge
    calendar: Calendar
    known: Ints
    new: Ints

    def season(self, rows: Ints, conditions: Conditions) -> Season:
        """A season of some of the listings, each from its recorded day of arrival on."""
        return Season(
            self.buyers.take(rows),
            conditions,
            calendar=self.calendar,
            first_date=self.calendar.arrival[rows],
            objective="revenue" if self.market.regime == "text" else "profit",
        )


def stage(
    history: History,
    vectors: npt.NDArray[np.float32],
    market: Market,
    seed: int,
    trained_on: npt.NDArray[np.bool_] | None = None,
) -> Stage:
    """Draw buyers and split listings by product family; everything follows from the seed.

    Args:
        vectors: embeddings of `history.listings`, of unit length, float32 (n, d).
        trained_on: listings whose texts they were fitted to, bool (n,), which are no new ones;
            None for none.

    Raises:
        ValueError: as `Buyers.from_history`, `History.split` and `Knowledge.of`, or no new
            listing is left.
    """
    past, coming = history.split(market.known_share, seed)
    place = {name: row for row, name in enumerate(history.listings["listing_id"].to_list())}
    known, new = (
        np.array([place[name] for name in part.listings["listing_id"]], np.int64)
        for part in (past, coming)
    )
    if trained_on is not None:
        new = new[~trained_on[new]]
        if not len(new):
            raise ValueError(
                "the encoder's adapter was trained on every new listing, which are then not new: "
                "judge it by benchmarks/adapter_money.py, which trains one for each split"
            )
    return between(history, vectors, market, seed, known, new, trained_on)


def between(
    history: History,
    vectors: npt.NDArray[np.float32],
    market: Market,
    seed: int,
    known: Ints,
    new: Ints,
    trained_on: npt.NDArray[np.bool_] | None = None,
) -> Stage:
    """As `stage`, with listings that are known and new already split.

    Args:
        known, new: their rows; of each, at most as many are drawn as the market says.
    """
    buyers = Buyers.from_history(
        history, seed, families=market.families, text_share=market.text_share
    )
    stream = np.random.default_rng((seed, 1))
    known, new = (
        np.sort(stream.permutation(rows)[:most])
        for rows, most in ((known, market.known), (new, market.new))
    )
    is_known, is_new = (np.isin(np.arange(len(buyers)), rows) for rows in (known, new))
    knowledge = Knowledge.of(
        history, buyers, market.regime, vectors, is_known, is_new, _ARMS, trained_on
    )
    return Stage(market, seed, buyers, knowledge, Calendar.from_history(history), known, new)
